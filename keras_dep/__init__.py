"""Spiking neural networks that stay up, and honest measurements of whether they do."""

from keras_dep import alignment
from keras_dep import attacks
from keras_dep import callbacks
from keras_dep import datasets
from keras_dep import experiment
from keras_dep import inference
from keras_dep import models
from keras_dep import settings
from keras_dep import spectrum
from keras_dep import surrogates
from keras_dep._version import __version__
from keras_dep.attacks import APGD
from keras_dep.attacks import FGSM
from keras_dep.attacks import PGD
from keras_dep.attacks import SAPGD
from keras_dep.batches import Batches
from keras_dep.batches import FollowEpoch
from keras_dep.curvature import GaussNewton
from keras_dep.curvature import Hessian
from keras_dep.encoders import DirectEncoding
from keras_dep.encoders import RateEncoding
from keras_dep.hetero import PerturbedTraining
from keras_dep.losses import MeanLogitAccuracy
from keras_dep.losses import MeanLogitCrossentropy
from keras_dep.losses import TemporalEfficientTraining
from keras_dep.losses import mean_logits
from keras_dep.neurons.integrator import Integrator
from keras_dep.neurons.lif import LIF
from keras_dep.neurons.plif import PLIF
from keras_dep.normalization import StepwiseBatchNormalization
from keras_dep.optimizers import DEP
from keras_dep.optimizers import CoupledWeightDecay
from keras_dep.poison import PoisonSchedule
from keras_dep.substitution import with_dtype
from keras_dep.substitution import with_surrogate
from keras_dep.threat import Threat
from keras_dep.timewise import Frames
from keras_dep.timewise import Steps
from keras_dep.timewise import TimeSharedDropout

__all__ = [
    "__version__",
    "alignment",
    "APGD",
    "attacks",
    "Batches",
    "callbacks",
    "CoupledWeightDecay",
    "datasets",
    "DEP",
    "DirectEncoding",
    "FGSM",
    "FollowEpoch",
    "experiment",
    "Frames",
    "GaussNewton",
    "Hessian",
    "inference",
    "Integrator",
    "LIF",
    "mean_logits",
    "MeanLogitAccuracy",
    "MeanLogitCrossentropy",
    "models",
    "PerturbedTraining",
    "PGD",
    "PLIF",
    "PoisonSchedule",
    "RateEncoding",
    "SAPGD",
    "settings",
    "spectrum",
    "Steps",
    "StepwiseBatchNormalization",
    "surrogates",
    "TemporalEfficientTraining",
    "Threat",
    "TimeSharedDropout",
    "with_dtype",
    "with_surrogate",
]
