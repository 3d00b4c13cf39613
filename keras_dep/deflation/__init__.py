"""Removal of the leading singular component of a gradient, as pure functions on tensors."""

from keras_dep.deflation.lanczos import leading_components
from keras_dep.deflation.projection import deflate
from keras_dep.deflation.projection import deflate_all
from keras_dep.deflation.projection import matricise
from keras_dep.deflation.projection import matrix_shape
from keras_dep.deflation.projection import unmatricise

__all__ = [
    "deflate",
    "deflate_all",
    "leading_components",
    "matricise",
    "matrix_shape",
    "unmatricise",
]
