"""Decoding, resizing and cropping of photographs, as torchvision does with Pillow."""

import io
import math

import numpy as np
import PIL.Image

from keras_dep._internal.types import Array

# Of the paper's training on ImageNet, which are torchvision's defaults.
CROP_AREA = (0.08, 1.0)
CROP_ASPECT = (3 / 4, 4 / 3)
_TRIES = 10


def decode(encoded: bytes, where: str) -> Array:
    """Decodes an image file to RGB; grey and CMYK images are converted.

    Args:
        encoded: content of the file.
        where: the file, for the message.

    Returns:
        uint8 array `(h, w, 3)`.

    Raises:
        ValueError: the content is no image, or is cut short.

    Example:

    >>> import io
    >>> file = io.BytesIO()
    >>> PIL.Image.new("L", (4, 3), 255).save(file, "PNG")
    >>> decode(file.getvalue(), "white.png").shape
    (3, 4, 3)
    """
    try:
        with PIL.Image.open(io.BytesIO(encoded)) as image:
            return np.asarray(image.convert("RGB"))
    # Pillow raises errors of many types for damaged files.
    except Exception as error:
        reason = " ".join(str(error).split())[:100]
        raise ValueError(f"{where} cannot be decoded ({reason}); replace the file.") from error


def resize_shorter_side(image: Array, size: int) -> Array:
    """Resizes an image so that its shorter side has `size` pixels; bilinear, with antialiasing.

    Args:
        image: uint8 `(h, w, C)`.
        size: pixels of the shorter side; the other side is rounded down.

    Example:

    >>> resize_shorter_side(np.zeros((10, 15, 3), "uint8"), 4).shape
    (4, 6, 3)
    """
    height, width = image.shape[:2]
    if height < width:
        return _resize(image, size, int(size * width / height))
    return _resize(image, int(size * height / width), size)


def centre_crop(image: Array, size: tuple[int, ...]) -> Array:
    """Cuts a box of `size`, `(height, width)`, from the middle of an image at least as large.

    Example:

    >>> centre_crop(np.arange(25).reshape(5, 5, 1), (1, 1)).item()
    12
    """
    (height, width), (box_height, box_width) = image.shape[:2], size
    top, left = round((height - box_height) / 2), round((width - box_width) / 2)
    return image[top : top + box_height, left : left + box_width]


def draw_box(rng: np.random.Generator, height: int, width: int) -> tuple[int, int, int, int]:
    """Draws the box of a random resized crop.

    Its area is uniform in 8 to 100 % of the image, its ratio of width to height log-uniform in 3/4
    to 4/3. After ten boxes that do not fit, it is the largest in the middle with a ratio in that
    range.

    Args:
        rng: `numpy.random.Generator`.
        height: image height in pixels.
        width: image width in pixels.

    Returns:
        `(top, left, box_height, box_width)` in pixels.

    Source: torchvision's `RandomResizedCrop`.

    Example:

    >>> draw_box(np.random.default_rng(0), 1, 1000)
    (0, 499, 1, 1)
    """
    low, high = np.log(CROP_ASPECT)
    for _ in range(_TRIES):
        area = height * width * rng.uniform(*CROP_AREA)
        aspect = math.exp(rng.uniform(low, high))
        box_width, box_height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < box_width <= width and 0 < box_height <= height:
            top = rng.integers(0, height - box_height + 1)
            left = rng.integers(0, width - box_width + 1)
            return int(top), int(left), box_height, box_width
    box_height, box_width = height, width
    if width / height < CROP_ASPECT[0]:
        box_height = round(width / CROP_ASPECT[0])
    elif width / height > CROP_ASPECT[1]:
        box_width = round(height * CROP_ASPECT[1])
    return (height - box_height) // 2, (width - box_width) // 2, box_height, box_width


def resized_crop(image: Array, box: tuple[int, int, int, int], size: tuple[int, ...]) -> Array:
    """Cuts a box from an image and resizes it; bilinear, with antialiasing.

    Args:
        image: uint8 `(h, w, C)`.
        box: `(top, left, box_height, box_width)`.
        size: `(height, width)` of the result.

    Example:

    >>> resized_crop(np.zeros((10, 15, 3), "uint8"), (2, 3, 5, 6), (4, 4)).shape
    (4, 4, 3)
    """
    top, left, height, width = box
    return _resize(image[top : top + height, left : left + width], *size)


def _resize(image: Array, height: int, width: int) -> Array:
    single = image.shape[2] == 1
    picture = PIL.Image.fromarray(image[..., 0] if single else image)
    resized = np.asarray(picture.resize((width, height), PIL.Image.Resampling.BILINEAR))
    return resized[..., None] if single else resized
