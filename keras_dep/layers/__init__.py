"""Keras layers of spiking networks: neurons, encoders, the time axis, normalisation."""

from keras_dep.layers.base import SpikingLayer
from keras_dep.layers.batch_normalization import MergedBatchNormalization
from keras_dep.layers.batch_normalization import StepwiseBatchNormalization
from keras_dep.layers.batch_normalization import ThresholdDependentBatchNormalization
from keras_dep.layers.encoders import DirectEncoding
from keras_dep.layers.encoders import LatencyEncoding
from keras_dep.layers.encoders import RateEncoding
from keras_dep.layers.integrator import Integrator
from keras_dep.layers.lif import IF
from keras_dep.layers.lif import LIF
from keras_dep.layers.overrides import surrogate_of
from keras_dep.layers.overrides import with_surrogate
from keras_dep.layers.plif import PLIF
from keras_dep.layers.time_axis import Folded
from keras_dep.layers.time_axis import FoldTime
from keras_dep.layers.time_axis import TimeSharedDropout
from keras_dep.layers.time_axis import UnfoldTime

__all__ = [
    "DirectEncoding",
    "Folded",
    "FoldTime",
    "IF",
    "Integrator",
    "LatencyEncoding",
    "LIF",
    "MergedBatchNormalization",
    "PLIF",
    "RateEncoding",
    "SpikingLayer",
    "StepwiseBatchNormalization",
    "surrogate_of",
    "ThresholdDependentBatchNormalization",
    "TimeSharedDropout",
    "UnfoldTime",
    "with_surrogate",
]
