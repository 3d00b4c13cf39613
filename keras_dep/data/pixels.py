"""Pixels in [0, 1], as attacks and networks take them."""

from typing import Any

import numpy as np

from keras_dep._internal.types import Array
from keras_dep.data.source import Images


def scaled(images: Array | Images) -> Array:
    """Converts images to float32 in [0, 1].

    Args:
        images: array of any shape: uint8, which is divided by 255, or float in [0, 1], which is
            only cast; or the images of a source, which are all read.

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
    if isinstance(images, Images) or images.dtype.kind != "f":
        raise ValueError(
            f"images must be uint8, or float in [0, 1]; received {images.dtype}; convert them."
        )
    return images.astype("float32")


class Scaled:
    """Images that `scaled` converts when they are indexed, so that only a part is held as floats.

    Args:
        images: array `(N, ...)`, or the images of a source.

    Example:

    >>> images = Scaled(np.full((5, 2, 2, 1), 255, "uint8"))
    >>> len(images), images[1:3].shape
    (5, (2, 2, 2, 1))
    """

    def __init__(self, images: Array | Images) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, key: Any) -> Array:
        return scaled(self.images[key])
