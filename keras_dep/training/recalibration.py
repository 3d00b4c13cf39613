"""Running statistics of batch normalisation, measured anew or held: controls of poison."""

import math

import keras
import numpy as np

from keras_dep._internal import keras_internals
from keras_dep._internal import validation
from keras_dep._internal.types import Array

# What the former statistics may still weigh.
REMAINDER = 1e-3


def running_statistics(model: keras.Model) -> list[keras.Variable]:
    """Moving means and variances of every batch normalisation of a model.

    Example:

    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.BatchNormalization()])
    >>> [variable.shape for variable in running_statistics(model)]
    [(3,), (3,)]
    """
    layers = _normalizations(model)
    return [variable for each in layers for variable in (each.moving_mean, each.moving_variance)]


def recalibrate(model: keras.Model, images: Array, batch_size: int = 128) -> None:
    """Measures the running statistics anew, on images in training mode; no weight changes.

    Images are taken again from the start until the statistics from before weigh less than 1e-3, by
    the largest momentum of the model.

    Args:
        model: a built `keras.Model`.
        images: array `(n, ...)` in [0, 1], taken in their order.
        batch_size: images per batch, at least 1. A last batch that is smaller is left out, unless
            it is the only one.

    Raises:
        ValueError: no images, or a `batch_size` below 1.

    Example:

    >>> norm = keras.layers.BatchNormalization(momentum=0.5)
    >>> model = keras.Sequential([keras.Input((1,)), norm])
    >>> recalibrate(model, np.full((64, 1), 0.25, "float32"), batch_size=4)
    >>> round(float(norm.moving_mean[0]), 3)
    0.25
    """
    batch_size = validation.whole_number("batch_size", batch_size)
    if not len(images):
        raise ValueError("images must be at least one; received none; pass training images.")
    batches = max(len(images) // batch_size, 1)
    momenta = [each.momentum for each in _normalizations(model) if 0 < each.momentum < 1]
    least = math.ceil(math.log(REMAINDER) / math.log(max(momenta))) if momenta else 1
    for number in range(max(batches, least)):
        start = number % batches * batch_size
        model(np.asarray(images[start : start + batch_size]), training=True)


def _normalizations(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    layers = keras_internals.all_layers(model)
    return [each for each in layers if isinstance(each, keras.layers.BatchNormalization)]
