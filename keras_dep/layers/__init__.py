"""Keras layers of spiking networks: neurons, encoders, the time axis, normalisation."""

from keras_dep.layers.base import SpikingLayer
from keras_dep.layers.batch_normalization import MergedBatchNormalization
from keras_dep.layers.batch_normalization import StepwiseBatchNormalization
from keras_dep.layers.batch_normalization import ThresholdDependentBatchNormalization
from keras_dep.layers.dlif import DLIF
from keras_dep.layers.encoders import DirectEncoding
from keras_dep.layers.encoders import LatencyEncoding
from keras_dep.layers.encoders import RateEncoding
from keras_dep.layers.evolutionary_leak import EvolutionaryLeakLIF
from keras_dep.layers.frequency_encoding import FrequencyEncoding
from keras_dep.layers.guarded_lif import GuardedLIF
from keras_dep.layers.guarded_lif import SupportPenaltyLIF
from keras_dep.layers.integrator import Integrator
from keras_dep.layers.lif import IF
from keras_dep.layers.lif import LIF
from keras_dep.layers.overrides import surrogate_of
from keras_dep.layers.overrides import with_surrogate
from keras_dep.layers.plif import PLIF
from keras_dep.layers.stepwise_lif import StepwiseLIF
from keras_dep.layers.stochastic_gate import StochasticGate
from keras_dep.layers.threshold_adapting_lif import ThresholdAdaptingLIF
from keras_dep.layers.time_axis import Folded
from keras_dep.layers.time_axis import FoldTime
from keras_dep.layers.time_axis import TimeSharedDropout
from keras_dep.layers.time_axis import UnfoldTime

__all__ = [
    "DLIF",
    "IF",
    "LIF",
    "PLIF",
    "DirectEncoding",
    "EvolutionaryLeakLIF",
    "FoldTime",
    "Folded",
    "FrequencyEncoding",
    "GuardedLIF",
    "Integrator",
    "LatencyEncoding",
    "MergedBatchNormalization",
    "RateEncoding",
    "SpikingLayer",
    "StepwiseBatchNormalization",
    "StepwiseLIF",
    "StochasticGate",
    "SupportPenaltyLIF",
    "ThresholdAdaptingLIF",
    "ThresholdDependentBatchNormalization",
    "TimeSharedDropout",
    "UnfoldTime",
    "surrogate_of",
    "with_surrogate",
]
