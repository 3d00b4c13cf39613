"""Spiking neural networks that stay up, and honest measurements of whether they do."""

from keras_dep import alignment
from keras_dep import attacks
from keras_dep import callbacks
from keras_dep import datasets
from keras_dep import evaluation
from keras_dep import experiment
from keras_dep import inference
from keras_dep import models
from keras_dep import settings
from keras_dep import spectrum
from keras_dep import substitutes
from keras_dep import surrogates
from keras_dep._version import __version__
from keras_dep.activity import ActivityProbe
from keras_dep.attacks import APGD
from keras_dep.attacks import APGDT
from keras_dep.attacks import BIM
from keras_dep.attacks import FGSM
from keras_dep.attacks import MIFGSM
from keras_dep.attacks import PGD
from keras_dep.attacks import RFGSM
from keras_dep.attacks import SAPGD
from keras_dep.attacks import GaussianNoise
from keras_dep.attacks import RandomSearch
from keras_dep.attacks import Square
from keras_dep.attacks import Transfer
from keras_dep.batches import Batches
from keras_dep.batches import FollowEpoch
from keras_dep.curvature import GaussNewton
from keras_dep.curvature import Hessian
from keras_dep.encoders import DirectEncoding
from keras_dep.encoders import LatencyEncoding
from keras_dep.encoders import RateEncoding
from keras_dep.evaluation import evaluate
from keras_dep.framewise import with_frames
from keras_dep.hetero import PerturbedTraining
from keras_dep.losses import MeanLogitAccuracy
from keras_dep.losses import MeanLogitCrossentropy
from keras_dep.losses import TemporalEfficientTraining
from keras_dep.losses import mean_logits
from keras_dep.neurons.integrator import Integrator
from keras_dep.neurons.lif import IF
from keras_dep.neurons.lif import LIF
from keras_dep.neurons.plif import PLIF
from keras_dep.nir import from_nir
from keras_dep.nir import to_nir
from keras_dep.normalization import MergedBatchNormalization
from keras_dep.normalization import StepwiseBatchNormalization
from keras_dep.normalization import ThresholdDependentBatchNormalization
from keras_dep.optimizers import DEP
from keras_dep.optimizers import CoupledWeightDecay
from keras_dep.poison import PoisonSchedule
from keras_dep.precision import double_precision
from keras_dep.precision import with_dtype
from keras_dep.substitution import with_surrogate
from keras_dep.threat import Threat
from keras_dep.timewise import Folded
from keras_dep.timewise import Frames
from keras_dep.timewise import Steps
from keras_dep.timewise import TimeSharedDropout

__all__ = [
    "__version__",
    "ActivityProbe",
    "alignment",
    "APGD",
    "APGDT",
    "attacks",
    "Batches",
    "BIM",
    "callbacks",
    "CoupledWeightDecay",
    "datasets",
    "DEP",
    "DirectEncoding",
    "double_precision",
    "evaluate",
    "evaluation",
    "FGSM",
    "Folded",
    "FollowEpoch",
    "experiment",
    "Frames",
    "from_nir",
    "GaussianNoise",
    "GaussNewton",
    "Hessian",
    "inference",
    "IF",
    "Integrator",
    "LatencyEncoding",
    "LIF",
    "mean_logits",
    "MeanLogitAccuracy",
    "MeanLogitCrossentropy",
    "MergedBatchNormalization",
    "MIFGSM",
    "models",
    "PerturbedTraining",
    "PGD",
    "PLIF",
    "PoisonSchedule",
    "RandomSearch",
    "RateEncoding",
    "RFGSM",
    "SAPGD",
    "settings",
    "Square",
    "spectrum",
    "Steps",
    "StepwiseBatchNormalization",
    "substitutes",
    "surrogates",
    "TemporalEfficientTraining",
    "Threat",
    "ThresholdDependentBatchNormalization",
    "TimeSharedDropout",
    "to_nir",
    "Transfer",
    "with_dtype",
    "with_frames",
    "with_surrogate",
]
