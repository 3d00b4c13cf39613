"""Engines carry out tasks: in this process one after the other, or on a Ray cluster."""

from keras_dep.experiments.engines.local import Local
from keras_dep.experiments.engines.ray import Ray
from keras_dep.experiments.engines.task import Engine
from keras_dep.experiments.engines.task import Task

__all__ = ["Engine", "Local", "Ray", "Task"]
