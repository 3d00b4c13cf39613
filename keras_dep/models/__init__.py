"""Spiking networks by name, and one image per step for a network of images."""

from keras_dep.models.per_step_inputs import with_frames
from keras_dep.models.registry import build
from keras_dep.models.registry import names

__all__ = ["build", "names", "with_frames"]
