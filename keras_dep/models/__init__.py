"""Spiking networks by name, with one image per step, and at another number of steps."""

from keras_dep.models.other_timesteps import with_timesteps
from keras_dep.models.per_step_inputs import with_frames
from keras_dep.models.registry import build
from keras_dep.models.registry import names

__all__ = ["build", "names", "with_frames", "with_timesteps"]
