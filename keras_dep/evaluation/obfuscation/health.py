"""Counts of zeros and non-finite entries, with which a gradient cannot guide an attack."""

import keras
import numpy as np

from keras_dep._internal.types import ArrayLike
from keras_dep._internal.types import Record
from keras_dep.attacks import FGSM
from keras_dep.attacks.gradient_attack import GradientAttack
from keras_dep.curvature import precision
from keras_dep.evaluation import accuracy
from keras_dep.evaluation import metadata


def gradient_health(
    model: keras.Model,
    images: ArrayLike,
    labels: ArrayLike,
    attack: GradientAttack | None = None,
    batch_size: int = 128,
) -> Record:
    """Counts the zeros and the non-finite entries of the input gradient at the images themselves.

    An attack that follows the gradient's sign does not move where the gradient is zero; an image
    whose gradient is zero everywhere survives for that reason alone.

    Args:
        model: a `keras.Model` from images to logits.
        images: array `(n, ...)` in [0, 1], `n >= 1`.
        labels: whole numbers `(n,)` or `(n, 1)`, or one-hot rows `(n, classes)`.
        attack: a gradient attack whose loss and surrogate are used; default `FGSM()`.
        batch_size: images at a time, at least 1.

    Returns:
        Dictionary of `zero_pixels`, the share of gradient entries that are exactly zero;
        `zero_images`, the share of images whose entries are all zero; `non_finite_images`, the
        number of images with a non-finite entry. For a model in half precision, whose rounding may
        cause zeros, also `zero_pixels_in_float32` and `zero_images_in_float32` of its copy in
        float32, `None` where Keras cannot copy it.

    Raises:
        ValueError: no images, images that are not finite or outside [0, 1], labels that do not fit
            them or the model's classes, or a batch size below 1.

    Example:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> gradient_health(model, np.full((6, 4), 0.5, "float32"), np.zeros(6, "int32"))["zero_images"]
    0.0
    """
    images, labels = accuracy.check_data(model, images, labels, batch_size)
    attack = attack or FGSM()
    found = _state(model, images, labels, attack, batch_size)
    if metadata.is_half(model):
        copy = float32_copy(model)
        exact = {} if copy is None else _state(copy, images, labels, attack, batch_size)
        names = ("zero_pixels", "zero_images")
        found |= {f"{name}_in_float32": exact.get(name) for name in names}
    return found


def float32_copy(model: keras.Model) -> keras.Model | None:
    """Returns a copy of a model that computes in float32, or `None` where Keras cannot copy it."""
    try:
        return precision.with_dtype(model, "float32")
    except ValueError:
        return None


def _state(model, images, labels, attack, batch_size):
    zeros, silent, broken = 0, 0, 0
    for start in range(0, len(images), batch_size):
        chosen = slice(start, start + batch_size)
        slope = attack.gradient(model, images[chosen], labels[chosen])
        slope = slope.reshape(len(slope), -1)
        zeros += int((slope == 0).sum())
        silent += int((slope == 0).all(axis=1).sum())
        broken += int((~np.isfinite(slope)).any(axis=1).sum())
    return {
        "zero_pixels": zeros / np.size(images),
        "zero_images": silent / len(images),
        "non_finite_images": broken,
    }
