"""Robustness of a model in one call, with everything that decides the number beside it."""

from keras_dep.evaluation.health import gradient_health
from keras_dep.evaluation.intervals import wilson
from keras_dep.evaluation.measure import robust_accuracy
from keras_dep.evaluation.run import evaluate

__all__ = ["evaluate", "gradient_health", "robust_accuracy", "wilson"]
