"""Optimizer wrappers that change the gradient before the wrapped optimizer sees it."""

from keras_dep.optimizers.base import GradientTransform
from keras_dep.optimizers.controls import GlobalNormClipping
from keras_dep.optimizers.controls import PeriodicDEP
from keras_dep.optimizers.controls import RandomRankOneRemoval
from keras_dep.optimizers.controls import RemovedEnergyNoise
from keras_dep.optimizers.controls import SecondComponentRemoval
from keras_dep.optimizers.coupled_weight_decay import CoupledWeightDecay
from keras_dep.optimizers.dep import DEP
from keras_dep.optimizers.matrix_transform import MatrixTransform
from keras_dep.optimizers.orthogonal_retraction import OrthogonalRetraction

__all__ = [
    "CoupledWeightDecay",
    "DEP",
    "GlobalNormClipping",
    "GradientTransform",
    "MatrixTransform",
    "OrthogonalRetraction",
    "PeriodicDEP",
    "RandomRankOneRemoval",
    "RemovedEnergyNoise",
    "SecondComponentRemoval",
]
