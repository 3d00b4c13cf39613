"""Pixels in [0, 1], as attacks and networks take them."""

import numpy as np

from keras_dep._internal.types import Array


def scaled(images: Array) -> Array:
    """Converts images to float32 in [0, 1].

    Args:
        images: array of any shape: uint8, which is divided by 255, or float in [0, 1], which is
            only cast.

    Returns:
        float32 array of the same shape.

    Raises:
        ValueError: another dtype.

    Example:

    >>> scaled(np.array([0, 51, 255], "uint8")).tolist()
    [0.0, 0.20000000298023224, 1.0]
    """
    if images.dtype == np.uint8:
        return np.divide(images, 255, dtype="float32")
    if images.dtype.kind != "f":
        raise ValueError(
            f"images must be uint8, or float in [0, 1]; received {images.dtype}; convert them."
        )
    return images.astype("float32")
