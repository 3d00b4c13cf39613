"""One attack on many images: which of them the model still classifies right."""

import numpy as np

from keras_dep._internal import validation
from keras_dep.attacks.gradient_attack import random_states_kept
from keras_dep.evaluation.intervals import wilson
from keras_dep.models import inference


def judged(model, images, labels, batch_size=128):
    """Which images a model classifies right, and which it answers with finite logits.

    Args:
        model: a `keras.Model` from images to logits.
        images: finite values `(n, ...)`, `n >= 1`.
        labels: whole numbers `(n,)` or `(n, 1)`, or one-hot rows `(n, classes)`.
        batch_size: images at a time, at least 1.

    Returns:
        `(right, finite)`, boolean arrays `(n,)`; an answer that is not finite is wrong.
    """
    with random_states_kept(model):
        scores = inference.logits(model, images, batch_size)
    return inference.judged(scores, validation.class_labels(labels, scores.shape[1]))


def right(model, images, labels, batch_size=128):
    """Whether a model classifies each image right; arguments as in `judged`."""
    return judged(model, images, labels, batch_size)[0]


def under_attack(model, attack, images, labels, batch_size=128):
    """Attacks batch by batch.

    Args:
        model: a `keras.Model` from images to logits.
        attack: any `attack(model, x, y) -> x_adv`, untargeted.
        images: array `(n, ...)` in [0, 1]; of no images nothing is yielded.
        labels: whole numbers `(n,)` or `(n, 1)`, or one-hot rows `(n, classes)`.
        batch_size: images at a time, at least 1.

    Yields:
        Per batch `(right, finite, change)`: whether each adversarial image is still classified
        right, whether it is answered with finite logits, and the largest change of any pixel of it.

    Raises:
        ValueError: an attack that returns other shapes, or values that are not finite.
    """
    validation.whole_number("batch_size", batch_size)
    if len(images):
        images, labels = validation.images_and_labels(images, labels)
    for start in range(0, len(images), batch_size):
        count = min(batch_size, len(images) - start)
        # Filled up to few different sizes, so that few are compiled.
        size = min(batch_size, 1 << (count - 1).bit_length())
        chosen = np.resize(np.arange(start, start + count), size)
        crafted = np.asarray(attack(model, images[chosen], labels[chosen]))
        _check_crafted(attack, crafted, images[chosen].shape)
        still, finite = judged(model, crafted, labels[chosen], size)
        change = np.abs(crafted - images[chosen]).reshape(size, -1).max(axis=1)
        yield still[:count], finite[:count], change[:count]


def robust_accuracy(model, attack, images, labels, batch_size=128):
    """Share of all images that are classified right before and behind an attack.

    Arguments as in `under_attack`. Images that the model gets wrong as they are count as errors and
    are not attacked.

    Returns:
        Dictionary of `accuracy`, its 95 % `interval`, `correct`, `images` and `non_finite_answers`:
        images answered with something that is not finite, as they are or attacked; they are errors.

    Raises:
        ValueError: images that are none, not finite or outside [0, 1], labels that do not fit them
            or the model's classes, a batch size below 1.

    Example:

    >>> import keras
    >>> from keras_dep import attacks
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> x, y = np.full((6, 4), 0.5, "float32"), np.zeros(6, "int32")
    >>> robust_accuracy(model, attacks.FGSM(epsilon=0.1), x, y)["images"]
    6
    """
    images, labels = check_data(model, images, labels, batch_size)
    before, finite = judged(model, images, labels, batch_size)
    batches = list(under_attack(model, attack, images[before], labels[before], batch_size))
    return {
        **proportion(sum(int(still.sum()) for still, _, _ in batches), len(images)),
        "non_finite_answers": sum(
            int((~each).sum()) for each in (finite, *(f for _, f, _ in batches))
        ),
    }


def proportion(correct, images):
    """A count as accuracy with its 95 % Wilson interval."""
    return {
        "accuracy": correct / images,
        "interval": list(wilson(correct, images)),
        "correct": int(correct),
        "images": images,
    }


def check_data(model, images, labels, batch_size=1):
    """Images as float32 array and labels as int32 array `(n,)`.

    Raises:
        ValueError: images that are none, not finite or outside [0, 1], labels that do not fit them
            or the model's classes, a model without logits, a batch size below 1.
    """
    validation.whole_number("batch_size", batch_size)
    images, _ = validation.images_and_labels(images, labels)
    with random_states_kept(model):
        classes = inference.class_count(model, images[:1])
    return images, validation.class_labels(labels, classes)


def _check_crafted(attack, crafted, shape):
    name = getattr(attack, "__name__", type(attack).__name__)
    if crafted.shape != shape:
        raise ValueError(
            f"attack {name} must return images like those that it was given, {shape}; received "
            f"{crafted.shape}."
        )
    if not np.isfinite(crafted).all():
        raise ValueError(f"attack {name} must return finite images; received others.")
