"""Random crop, Cutout and horizontal flip of image batches, vectorised in NumPy."""

import functools
from collections.abc import Callable
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from keras_dep._internal import validation
from keras_dep._internal.types import Array
from keras_dep.data import preprocessing
from keras_dep.data.source import Source

# From images and a generator of random numbers to new images.
Augmentation: TypeAlias = Callable[[Array, np.random.Generator], Array]

PADDING = 4
CUTOUT_PROBABILITY = 0.5
CUTOUT_AREA = (0.02, 0.4)
CUTOUT_ASPECT = (0.4, 2.5)


def names() -> list[str]:
    """The names that `get` knows, sorted."""
    return sorted(_REGISTRY)


def get(name: str) -> Augmentation:
    """Looks up an augmentation by name.

    Args:
        name: `"paper"`, `"standard"`, `"resized_crop"` or `"none"`.

    Returns:
        A function `augment(images, rng) -> images` on batches `(N, H, W, C)`, where `rng` is a
        `numpy.random.Generator`; it returns a new array of the same dtype. Batches of frames
        `(N, T, H, W, C)` are changed in the same way at every step.

    Raises:
        ValueError: the name is unknown.

    Example:

    >>> images = np.zeros((2, 32, 32, 3), "uint8")
    >>> get("paper")(images, np.random.default_rng(0)).shape
    (2, 32, 32, 3)
    """
    return _REGISTRY[validation.one_of("augment", name, names())]


def _alike_at_every_step(augment: Augmentation) -> Augmentation:
    """Lets an augmentation of images take frames, by their steps as further channels."""

    @functools.wraps(augment)
    def augmented(images: Array, rng: np.random.Generator) -> Array:
        if images.ndim == 4:
            return augment(images, rng)
        count, steps, height, width, channels = images.shape
        merged = np.moveaxis(images, 1, 3).reshape(count, height, width, steps * channels)
        split = augment(merged, rng).reshape(count, height, width, steps, channels)
        return np.moveaxis(split, 3, 1)

    return augmented


@_alike_at_every_step
def paper(images: Array, rng: np.random.Generator) -> Array:
    """Random crop (4 pixels of zero padding), Cutout, then horizontal flip.

    With probability 0.5, Cutout fills a box with one random value shared by all channels. The box
    has 2 to 40 % of the area, and its height is 0.4 to 2.5 times its width.

    Args:
        images: `(N, H, W, C)`, uint8, or float in [0, 1].
        rng: `numpy.random.Generator` of all random numbers.

    Returns:
        A new array, same shape and dtype.

    Reference:

    - DeVries and Taylor, "Improved Regularization of Convolutional Neural Networks with Cutout",
      2017 (https://arxiv.org/abs/1708.04552); box sizes as in torchtoolbox 0.1.8.2.
    """
    count, height, width, _ = images.shape
    images = crop(images, *draw_crops(rng, count))
    top, left, box_height, box_width, value = draw_cutouts(rng, count, height, width)
    value = value if images.dtype == np.uint8 else (value / 255.0).astype(images.dtype)
    images = cutout(images, top, left, box_height, box_width, value)
    return flip(images, draw_flips(rng, count))


@_alike_at_every_step
def standard(images: Array, rng: np.random.Generator) -> Array:
    """Random crop (4 pixels of zero padding) and horizontal flip; arguments as in `paper`."""
    images = crop(images, *draw_crops(rng, len(images)))
    return flip(images, draw_flips(rng, len(images)))


def resized_crop(
    images: Array | Sequence[Array],
    rng: np.random.Generator,
    size: tuple[int, ...] | None = None,
) -> Array:
    """Random resized crop (see `preprocessing.draw_box`) and horizontal flip.

    Args:
        images: uint8 `(N, H, W, C)`, or a sequence of images `(h, w, C)` of any size.
        rng: `numpy.random.Generator` of all random numbers.
        size: `(height, width)` of the result; default: that of the first image.

    Returns:
        uint8 array `(N, height, width, C)`.

    Raises:
        ValueError: images that are not uint8.
    """
    if images[0].dtype != np.uint8:
        raise ValueError(
            f"resized_crop takes uint8 images; received {images[0].dtype}; multiply images in "
            "[0, 1] by 255 and round them."
        )
    size = images[0].shape[:2] if size is None else size
    crops = [
        preprocessing.resized_crop(image, preprocessing.draw_box(rng, *image.shape[:2]), size)
        for image in images
    ]
    return flip(np.stack(crops), draw_flips(rng, len(crops)))


def augmented(
    source: Source, indices: Array, augment: Augmentation, rng: np.random.Generator
) -> Array:
    """Reads images of a source and augments them.

    Args:
        source: the source.
        indices: which images, int `(n,)`.
        augment: the augmentation; `resized_crop` is given the images at their own sizes.
        rng: `numpy.random.Generator` of its random numbers.

    Returns:
        Array `(n, H, W, C)`.
    """
    if augment is resized_crop:
        originals = [source.original(int(index)) for index in indices]
        return resized_crop(originals, rng, source.image_shape[:2])
    return augment(source.images_at(indices), rng)


def none(images: Array, rng: np.random.Generator) -> Array:
    """Returns the images unchanged and draws no random numbers."""
    del rng
    return images


def draw_crops(rng: np.random.Generator, count: int) -> Array:
    """Draws `(top, left)`, each `(count,)`, uniform over the positions in the padded image."""
    return rng.integers(0, 2 * PADDING + 1, (2, count))


def draw_cutouts(
    rng: np.random.Generator, count: int, height: int, width: int
) -> tuple[Array, Array, Array, Array, Array]:
    """Draws the boxes that `cutout` fills.

    Args:
        rng: `numpy.random.Generator`.
        count: number of images.
        height: image height in pixels.
        width: image width in pixels.

    Returns:
        `(top, left, box_height, box_width, value)`, each `(count,)`; the first four in pixels,
        `value` uint8. An image without Cutout has a box of height 0.
    """
    chosen = rng.random(count) < CUTOUT_PROBABILITY
    area = rng.uniform(*CUTOUT_AREA, count) * height * width
    aspect = rng.uniform(*CUTOUT_ASPECT, count)
    # A tall box does not fit into an image that is much wider than high: clip it.
    box_height = np.minimum(np.sqrt(area * aspect).astype(int), height)
    box_width = np.minimum(np.sqrt(area / aspect).astype(int), width)
    top = rng.integers(0, height - box_height + 1)
    left = rng.integers(0, width - box_width + 1)
    value = rng.integers(0, 256, count, dtype=np.uint8)
    return top, left, np.where(chosen, box_height, 0), box_width, value


def draw_flips(rng: np.random.Generator, count: int) -> Array:
    """Draws which images are mirrored: `(count,)` bool, each with probability 0.5."""
    return rng.random(count) < 0.5


def crop(images: Array, top: Array, left: Array) -> Array:
    """Pads every image with 4 zeros on each side and crops it to its own size at `(top, left)`.

    Args:
        images: `(N, H, W, C)`.
        top: `(N,)` int, first row in the padded image, 0 to 8.
        left: `(N,)` int, first column in the padded image, 0 to 8.

    Returns:
        A new array, same shape and dtype; `top = left = 4` keeps the image.
    """
    count, height, width, channels = images.shape
    padded_width = width + 2 * PADDING
    padded = np.zeros((count, height + 2 * PADDING, padded_width, channels), images.dtype)
    padded[:, PADDING:-PADDING, PADDING:-PADDING] = images
    # Width and channels are merged, so that one gather copies contiguous rows.
    windows = np.lib.stride_tricks.sliding_window_view(
        padded.reshape(count, -1, padded_width * channels), (height, width * channels), (1, 2)
    )
    return windows[np.arange(count), top, left * channels].reshape(images.shape)


def cutout(
    images: Array, top: Array, left: Array, box_height: Array, box_width: Array, value: Array
) -> Array:
    """Fills one box in each image.

    Args:
        images: `(N, H, W, C)`.
        top: `(N,)` int, the first row of the box.
        left: `(N,)` int, its first column.
        box_height: `(N,)` int, pixels; 0 leaves the image unchanged.
        box_width: `(N,)` int, pixels.
        value: `(N,)`, one value for all channels, or `(N, C)`.

    Returns:
        A new array, same shape and dtype.
    """
    rows = _inside(top, box_height, images.shape[1])
    columns = _inside(left, box_width, images.shape[2])
    mask = rows[:, :, None, None] & columns[:, None, :, None]
    value = np.asarray(value, images.dtype).reshape(len(images), 1, 1, -1)
    return np.where(mask, value, images)


def flip(images: Array, chosen: Array) -> Array:
    """Mirrors the images for which `chosen`, `(N,)` bool, is true, left to right."""
    flipped = images.copy()
    flipped[chosen] = images[chosen, :, ::-1]
    return flipped


def _inside(start: Array, length: Array, size: int) -> Array:
    position = np.arange(size)
    return (position >= start[:, None]) & (position < (start + length)[:, None])


_REGISTRY = {"none": none, "paper": paper, "resized_crop": resized_crop, "standard": standard}
