"""How maps and kernels lie in NIR and in Keras, and the package that holds graphs.

In NIR maps are `(channels, height, width)`, kernels `(outputs, inputs, height, width)`, and
matrices `(outputs, inputs)`; a map is flattened in that order.
"""

import numpy as np


def library():
    """The package `nir`.

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


def in_numpy(tensor):
    """A tensor of any library as an array, in double precision where NumPy lacks its type."""
    # By name: torch need not be installed.
    for step in ("detach", "cpu", "resolve_neg"):
        tensor = getattr(tensor, step, lambda tensor=tensor: tensor)()
    try:
        return np.asarray(tensor)
    except TypeError:
        return np.asarray(tensor.double())


def to_map(values, last):
    """An array `(height, width, channels)` of Keras as NIR's; with `last=False` as it is."""
    return np.moveaxis(values, -1, 0) if last else values


def from_map(values, last):
    """The inverse of `to_map`."""
    return np.moveaxis(values, 0, -1) if last else values


def map_shape(shape, last):
    """`(height, width, channels)` as NIR's `(channels, height, width)`; other ranks as they are."""
    shape = tuple(int(size) for size in shape)
    return (shape[-1], *shape[:-1]) if last and len(shape) == 3 else shape


def keras_shape(shape, last):
    """The inverse of `map_shape`."""
    shape = tuple(int(size) for size in shape)
    return (*shape[1:], shape[0]) if last and len(shape) == 3 else shape


def to_rows(kernel, flattened):
    """Rows of a kernel `(features, ...)` in NIR's order, where a Keras map was flattened.

    Args:
        kernel: array whose first axis is a flattened map `(height, width, channels)`.
        flattened: NIR's shape of that map, or `None` where rows keep their order.
    """
    if flattened is None:
        return kernel
    channels, height, width = flattened
    rows = kernel.reshape(height, width, channels, *kernel.shape[1:])
    return np.moveaxis(rows, 2, 0).reshape(kernel.shape)


def from_rows(kernel, flattened):
    """The inverse of `to_rows`."""
    if flattened is None:
        return kernel
    return np.moveaxis(kernel.reshape(*flattened, *kernel.shape[1:]), 0, 2).reshape(kernel.shape)
