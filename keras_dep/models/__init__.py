"""Spiking networks by name."""

from keras_dep.models.registry import build
from keras_dep.models.registry import names

__all__ = ["build", "names"]
