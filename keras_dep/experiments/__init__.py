"""One hetero-training run, from settings and a method to a result on disk."""

from keras_dep.experiments.run import run
from keras_dep.experiments.settings import Settings

__all__ = ["Settings", "run"]
