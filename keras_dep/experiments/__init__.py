"""One hetero-training run, from settings to a result on disk."""

from keras_dep.experiments.settings import Settings

__all__ = ["Settings"]
