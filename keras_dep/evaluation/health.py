"""Whether a gradient can guide an attack at all."""

import numpy as np

from keras_dep.attacks import FGSM


def gradient_health(model, images, labels, attack=None, batch_size=128):
    """What the input gradient looks like at the images themselves.

    An attack that follows signs stands still where the gradient is zero; an image whose gradient is
    zero everywhere survives for that reason alone.

    Args:
        model: a `keras.Model` from images to logits.
        images: float32 array `(n, ...)` in [0, 1], `n >= 1`.
        labels: integer array `(n,)`.
        attack: a gradient attack whose loss and surrogate are used; default `FGSM()`.
        batch_size: images at a time.

    Returns:
        Dictionary of `zero_pixels`, the share of gradient entries that are exactly zero;
        `zero_images`, the share of images without any other; `non_finite_images`, the number of
        images with an entry that is not finite.

    Example:

    >>> import keras
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> gradient_health(model, np.full((6, 4), 0.5, "float32"), np.zeros(6, "int32"))["zero_images"]
    0.0
    """
    attack = attack or FGSM()
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
