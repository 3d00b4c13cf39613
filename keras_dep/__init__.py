"""Spiking networks trained without collapse, and their robustness measured."""

try:
    import keras as _keras  # noqa: F401
except ModuleNotFoundError as error:
    if error.name not in ("torch", "tensorflow", "jax"):
        raise
    raise ImportError(
        f"keras_dep needs the framework that KERAS_BACKEND names; Keras found no {error.name}; pip "
        f"install keras_dep[{error.name}], or set KERAS_BACKEND to a framework that is installed."
    ) from None

from keras_dep import attacks
from keras_dep import callbacks
from keras_dep import curvature
from keras_dep import data
from keras_dep import defences
from keras_dep import distribution
from keras_dep import evaluation
from keras_dep import experiments
from keras_dep import interop
from keras_dep import layers
from keras_dep import losses
from keras_dep import models
from keras_dep import optimizers
from keras_dep import profiling
from keras_dep import surrogates
from keras_dep import training
from keras_dep._version import __version__
from keras_dep.attacks import FGSM
from keras_dep.attacks import PGD
from keras_dep.curvature import GaussNewton
from keras_dep.curvature import Hessian
from keras_dep.evaluation import evaluate
from keras_dep.interop import from_nir
from keras_dep.interop import to_nir
from keras_dep.layers import IF
from keras_dep.layers import LIF
from keras_dep.layers import PLIF
from keras_dep.layers import DirectEncoding
from keras_dep.layers import FoldTime
from keras_dep.layers import Integrator
from keras_dep.layers import LatencyEncoding
from keras_dep.layers import RateEncoding
from keras_dep.layers import UnfoldTime
from keras_dep.layers import with_surrogate
from keras_dep.losses import MeanLogitAccuracy
from keras_dep.losses import MeanLogitCrossentropy
from keras_dep.losses import TemporalEfficientTraining
from keras_dep.optimizers import DEP
from keras_dep.optimizers import CoupledWeightDecay
from keras_dep.training import PoisonSchedule

__all__ = [
    "__version__",
    "attacks",
    "callbacks",
    "CoupledWeightDecay",
    "curvature",
    "data",
    "defences",
    "distribution",
    "DEP",
    "DirectEncoding",
    "evaluate",
    "evaluation",
    "experiments",
    "FGSM",
    "FoldTime",
    "from_nir",
    "GaussNewton",
    "Hessian",
    "IF",
    "Integrator",
    "interop",
    "LatencyEncoding",
    "layers",
    "LIF",
    "losses",
    "MeanLogitAccuracy",
    "MeanLogitCrossentropy",
    "models",
    "optimizers",
    "PGD",
    "PLIF",
    "PoisonSchedule",
    "profiling",
    "RateEncoding",
    "surrogates",
    "TemporalEfficientTraining",
    "to_nir",
    "training",
    "UnfoldTime",
    "with_surrogate",
]
