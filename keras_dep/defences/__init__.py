"""Methods of training as values that a run composes: the paper's, its rivals, and controls."""

from keras_dep.defences import dep  # noqa: F401  (registers itself, as each method below)
from keras_dep.defences import sgd  # noqa: F401
from keras_dep.defences.defence import Defence
from keras_dep.defences.defence import TrainingPlan
from keras_dep.defences.registry import describe
from keras_dep.defences.registry import get
from keras_dep.defences.registry import names
from keras_dep.defences.registry import parse
from keras_dep.defences.registry import register

__all__ = ["Defence", "TrainingPlan", "describe", "get", "names", "parse", "register"]
