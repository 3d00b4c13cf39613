"""TensorBoard event files, written and read without TensorFlow."""

from keras_dep.summaries.reader import read_scalars
from keras_dep.summaries.writer import EventWriter

__all__ = ["EventWriter", "read_scalars"]
