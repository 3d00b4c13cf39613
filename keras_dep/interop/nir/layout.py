"""Conversion of maps and kernels between the layouts of NIR and Keras.

In NIR maps are `(channels, height, width)`, kernels `(outputs, inputs, height, width)`, and
matrices `(outputs, inputs)`; a map is flattened in that order.
"""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from keras_dep._internal.types import Array


def library() -> ModuleType:
    """Imports the package `nir`.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import nir
    except ImportError:
        raise ImportError(
            "package nir must be installed for NIR graphs; pip install nir."
        ) from None
    return nir


def in_numpy(tensor: Any) -> Array:
    """Returns a tensor of any library as an array, in double precision if NumPy lacks its type."""
    # By name: torch need not be installed.
    for step in ("detach", "cpu", "resolve_neg"):
        tensor = getattr(tensor, step, lambda tensor=tensor: tensor)()
    try:
        return np.asarray(tensor)
    except TypeError:
        return np.asarray(tensor.double())


def to_map(values: Array, last: bool) -> Array:
    """Returns a map of Keras in NIR's order; `last` tells whether its channels are last."""
    return np.moveaxis(values, -1, 0) if last else values


def from_map(values: Array, last: bool) -> Array:
    """Does the inverse of `to_map`."""
    return np.moveaxis(values, 0, -1) if last else values


def map_shape(shape: Sequence[int], last: bool) -> tuple[int, ...]:
    """Returns a shape `(height, width, channels)` in NIR's order, other ranks as they are."""
    shape = tuple(int(size) for size in shape)
    return (shape[-1], *shape[:-1]) if last and len(shape) == 3 else shape


def keras_shape(shape: Sequence[int], last: bool) -> tuple[int, ...]:
    """Does the inverse of `map_shape`."""
    shape = tuple(int(size) for size in shape)
    return (*shape[1:], shape[0]) if last and len(shape) == 3 else shape


def to_rows(kernel: Array, flattened: tuple[int, ...] | None) -> Array:
    """Puts a kernel's rows `(features, ...)` into NIR's order, where a map was flattened.

    Args:
        kernel: array whose first axis is a flattened map `(height, width, channels)`.
        flattened: NIR's shape of that map, or `None` where rows keep their order.
    """
    if flattened is None:
        return kernel
    channels, height, width = flattened
    rows = kernel.reshape(height, width, channels, *kernel.shape[1:])
    return np.moveaxis(rows, 2, 0).reshape(kernel.shape)


def from_rows(kernel: Array, flattened: tuple[int, ...] | None) -> Array:
    """Does the inverse of `to_rows`."""
    if flattened is None:
        return kernel
    return np.moveaxis(kernel.reshape(*flattened, *kernel.shape[1:]), 0, 2).reshape(kernel.shape)
