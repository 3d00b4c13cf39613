"""Callbacks for `fit`, one file each."""

from keras_dep.callbacks.activity import ActivityLog
from keras_dep.callbacks.board import BoardLog
from keras_dep.callbacks.clock import StepClock
from keras_dep.callbacks.collapse import CollapseWatch
from keras_dep.callbacks.epochs import EpochWeights
from keras_dep.callbacks.hessian import HessianSpectrum
from keras_dep.callbacks.overview import describe_run
from keras_dep.callbacks.poison import PoisonInjection
from keras_dep.callbacks.resume import ResumeState
from keras_dep.callbacks.robustness import RobustnessLog

__all__ = [
    "ActivityLog",
    "BoardLog",
    "CollapseWatch",
    "EpochWeights",
    "HessianSpectrum",
    "PoisonInjection",
    "ResumeState",
    "RobustnessLog",
    "StepClock",
    "describe_run",
]
