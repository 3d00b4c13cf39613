"""A picture of training images: each as it is tested, and several times augmented."""

import os

import numpy as np
import PIL.Image

from keras_dep._internal import validation
from keras_dep._internal.types import Array
from keras_dep.data import transforms
from keras_dep.data.events import as_pictures
from keras_dep.data.source import Source

# Small images are enlarged to at least this many pixels.
_SIDE = 64
_GAP = 2


def grid(
    source: Source, augment: str = "paper", rows: int = 6, columns: int = 8, seed: int = 0
) -> Array:
    """Draws images of a source: one per row, untouched in the first column.

    Frames of a recording stand side by side, brighter events in red and darker ones in blue.

    Args:
        source: the source, of uint8 images.
        augment: a name in `transforms.names()`.
        rows: number of images, the first of the source.
        columns: number of pictures of each.
        seed: seed of the augmentation.

    Returns:
        uint8 array `(height, width, 3)`.

    Raises:
        ValueError: an unknown augmentation, or fewer than one row or column.

    Example:

    >>> from keras_dep.data.sources import load
    >>> grid(load("digits").train, "standard", rows=2, columns=3).shape
    (134, 200, 3)
    """
    change = transforms.get(augment)
    rows = min(validation.whole_number("rows", rows), len(source))
    columns = validation.whole_number("columns", columns)
    height, width, _ = as_pictures(source.images[:1]).shape[1:]
    scale = max(1, -(-_SIDE // max(height, width)))
    cell = (height * scale + _GAP, width * scale + _GAP)
    canvas = np.full((rows * cell[0] + _GAP, columns * cell[1] + _GAP, 3), 255, "uint8")
    for row in range(rows):
        rng = np.random.default_rng([seed, row])
        images = [source.image(row)]
        if columns > 1:
            images += [*transforms.augmented(source, np.full(columns - 1, row), change, rng)]
        for column, image in enumerate(as_pictures(np.stack(images))):
            large = image.repeat(scale, axis=0).repeat(scale, axis=1)
            top, left = row * cell[0] + _GAP, column * cell[1] + _GAP
            canvas[top : top + height * scale, left : left + width * scale] = large
    return canvas


def save(picture: Array, path: str | os.PathLike[str]) -> None:
    """Writes a picture to an image file; its ending chooses the format."""
    PIL.Image.fromarray(picture).save(path)
