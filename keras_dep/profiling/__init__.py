"""Spike rates, operations and energy of a network on a batch."""

from keras_dep.profiling.activity import Activity
from keras_dep.profiling.activity import ActivityProbe
from keras_dep.profiling.activity import LayerActivity
from keras_dep.profiling.signature import membrane_signature

__all__ = ["Activity", "ActivityProbe", "LayerActivity", "membrane_signature"]
