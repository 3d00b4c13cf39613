"""One attack on many images: which of them the model still classifies right."""

import numpy as np

from keras_dep import inference
from keras_dep.attacks.gradient import random_states_kept
from keras_dep.evaluation.intervals import wilson


def right(model, images, labels, batch_size=128):
    """Whether a model classifies each image right, as boolean array."""
    with random_states_kept(model):
        scores = inference.logits(model, images, batch_size)
    return scores.argmax(axis=1) == np.asarray(labels)


def under_attack(model, attack, images, labels, batch_size=128):
    """Attacks batch by batch.

    Args:
        model: a `keras.Model` from images to logits.
        attack: any `attack(model, x, y) -> x_adv`, untargeted.
        images: float32 array `(n, ...)` in [0, 1].
        labels: integer array `(n,)`.
        batch_size: images at a time.

    Yields:
        Per batch `(right, change)`: whether each adversarial image is still classified
        right, and the largest change of any pixel of it.
    """
    images, labels = np.asarray(images), np.asarray(labels)
    for start in range(0, len(images), batch_size):
        count = min(batch_size, len(images) - start)
        # Filled up to few different sizes, so that few are compiled.
        size = min(batch_size, 1 << (count - 1).bit_length())
        chosen = np.resize(np.arange(start, start + count), size)
        crafted = np.asarray(attack(model, images[chosen], labels[chosen]))
        still = right(model, crafted, labels[chosen], size)[:count]
        change = np.abs(crafted - images[chosen]).reshape(size, -1).max(axis=1)[:count]
        yield still, change


def robust_accuracy(model, attack, images, labels, batch_size=128):
    """Share of all images that are classified right before and behind an attack.

    Arguments as in `under_attack`. Images that the model gets wrong as they are count as errors and
    are not attacked.

    Returns:
        Dictionary of `accuracy`, its 95 % `interval`, `correct` and `images`.

    Example:

    >>> import keras
    >>> from keras_dep import attacks
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> x, y = np.full((6, 4), 0.5, "float32"), np.zeros(6, "int32")
    >>> robust_accuracy(model, attacks.FGSM(epsilon=0.1), x, y)["images"]
    6
    """
    before = right(model, images, labels, batch_size)
    batches = under_attack(model, attack, images[before], np.asarray(labels)[before], batch_size)
    return proportion(sum(int(still.sum()) for still, _ in batches), len(images))


def proportion(correct, images):
    """A count as accuracy with its 95 % Wilson interval."""
    return {
        "accuracy": correct / images,
        "interval": list(wilson(correct, images)),
        "correct": int(correct),
        "images": images,
    }


def check_data(images, labels):
    """Images as float32 array and labels as integers; raises `ValueError` where they do not fit."""
    images, labels = np.asarray(images, "float32"), np.asarray(labels)
    if not len(images) or len(images) != len(labels):
        raise ValueError(
            "an evaluation needs at least one image and one label each; received "
            f"{len(images)} images and {len(labels)} labels."
        )
    if not np.issubdtype(labels.dtype, np.integer) or labels.ndim != 1:
        raise ValueError(f"labels must be integers (n,); received {labels.dtype} {labels.shape}.")
    return images, labels.astype("int32")
