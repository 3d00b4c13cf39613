"""Checks and converts the arguments of `EventWriter`."""

import math
import operator
import textwrap
from typing import Any

import keras
import numpy as np

from keras_dep._internal.types import Array
from keras_dep._internal.types import ArrayLike

LARGEST_IMAGE_SIDE = 4096


def check_tag(tag: str) -> str:
    """Returns the tag; raises `ValueError` unless it is a string with a character."""
    if not tag or not isinstance(tag, str):
        raise ValueError(
            f"tag must be a string with at least one character; received {tag!r}; "
            "write for example 'spikes/rate'."
        )
    return tag


def check_step(step: int, name: str) -> int:
    """Returns the step as a Python integer; raises `ValueError` unless it is an integer >= 0."""
    try:
        number = -1 if isinstance(step, bool) else operator.index(step)
    except TypeError:
        number = -1
    if not 0 <= number < 2**63:
        raise ValueError(
            f"{name} must be an integer >= 0; received {_brief(step)}; "
            "write for example int(optimizer.iterations)."
        )
    return number


def check_number(value: ArrayLike, tag: str) -> float:
    """Returns a number or one-element tensor as float; raises `ValueError` for other values."""
    try:
        return float(np.reshape(_to_numpy(value), ()))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"value must be one number; received {_brief(value)} for tag={tag!r}; "
            "reduce it first, for instance to its mean."
        ) from error


def check_text(markdown: str) -> str:
    """Returns the text; raises `ValueError` unless it is a string."""
    if not isinstance(markdown, str):
        raise ValueError(
            f"markdown must be a string; received {_brief(markdown)}; convert it with str()."
        )
    return markdown


def check_images(images: ArrayLike) -> Array:
    """Returns images as `uint8` array `(N, H, W, C)`.

    Args:
        images: floats in [0, 1], `(H, W, C)` or `(N, H, W, C)` with 1 or 3 channels.

    Raises:
        ValueError: the images have another shape, dtype or range.
    """
    pixels = _to_numpy(images)
    pixels = pixels[None] if pixels.ndim == 3 else pixels
    shaped = pixels.ndim == 4 and pixels.shape[-1] in (1, 3) and 0 not in pixels.shape
    if not shaped or not keras.backend.is_float_dtype(pixels.dtype.name):
        raise ValueError(
            "images must be floats of shape (H, W, C) or (N, H, W, C) with 1 or 3 channels; "
            f"received shape {pixels.shape} and dtype {pixels.dtype}; "
            "move the channels last and divide 8-bit images by 255."
        )
    if max(pixels.shape[1:3]) > LARGEST_IMAGE_SIDE:
        raise ValueError(
            f"images must have sides of at most {LARGEST_IMAGE_SIDE} pixels; "
            f"received shape {pixels.shape}; shrink them first."
        )
    pixels = pixels.astype("float32")
    # Half precision may overshoot by rounding. NaN fails this comparison too.
    if not (pixels.min() >= -1e-3 and pixels.max() <= 1 + 1e-3):
        raise ValueError(
            "images must lie in [0, 1]; received values from "
            f"{pixels.min()} to {pixels.max()}; rescale them first."
        )
    return np.rint(np.clip(pixels, 0.0, 1.0) * 255).astype("uint8")


def check_hparam(name: str, value: Any) -> bool | float | str:
    """Converts a hyper-parameter to a type of the HParams tab; raises `ValueError` for objects."""
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, (bool, str)):
        return value
    if isinstance(value, (int, float)) and math.isfinite(value):
        return float(value)
    # The format has no lists, no `None` and no infinities: they become text.
    if value is None or isinstance(value, (int, float, list, tuple)):
        return str(value)
    raise ValueError(
        "values must hold booleans, numbers, strings, None or lists of these; "
        f"received values[{name!r}]={_brief(value)}; convert it with str()."
    )


def check_tags(name: str, tags: Any) -> list[str]:
    """Returns a list of strings; raises `ValueError` for anything else, one string included."""
    if isinstance(tags, str) or not all(isinstance(tag, str) for tag in tags):
        raise ValueError(
            f"{name} must be a list of scalar tags; received {tags!r}; "
            "write for example ['accuracy']."
        )
    return list(tags)


def _to_numpy(value: ArrayLike) -> Array:
    # Tensors may sit on an accelerator or carry a gradient; Python and NumPy values do not.
    if isinstance(value, (int, float, str, list, tuple, np.ndarray, np.generic)):
        return np.asarray(value)
    return keras.ops.convert_to_numpy(value)


def _brief(value: Any) -> str:
    return textwrap.shorten(repr(value), 80)
