"""Optimizer wrappers that change the gradient before the wrapped optimizer sees it."""

from keras_dep.optimizers.decay import CoupledWeightDecay
from keras_dep.optimizers.dep import DEP
from keras_dep.optimizers.transform import GradientTransform

__all__ = ["CoupledWeightDecay", "DEP", "GradientTransform"]
