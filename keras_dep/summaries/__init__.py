"""TensorBoard event files, written through tensorboardX."""

from keras_dep.summaries.writer import EventWriter

__all__ = ["EventWriter"]
