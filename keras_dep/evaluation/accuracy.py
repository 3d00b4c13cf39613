"""One attack on many images: adversarial images, and how many the model classifies right."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence

import keras
import numpy as np

from keras_dep import distribution
from keras_dep._internal import validation
from keras_dep._internal.types import Array
from keras_dep._internal.types import ArrayLike
from keras_dep._internal.types import Record
from keras_dep.attacks.randomness import random_states_kept
from keras_dep.attacks.transfer import Transfer
from keras_dep.evaluation.intervals import wilson
from keras_dep.models import inference

# Reasons for refusing a model.
PROBABILITIES = (
    "answers with probabilities, whose gradients vanish where it is sure; save it with its logits, "
    "without the softmax at its end"
)


def clean(
    model: keras.Model, images: ArrayLike, labels: ArrayLike, batch_size: int = 128
) -> tuple[Array, Array]:
    """Does the same as `judged` on clean images, and refuses a model that cannot be attacked.

    Raises:
        ValueError: the model answers with probabilities.
    """
    scores = _scores(model, images, batch_size)
    if are_probabilities(scores):
        raise ValueError(f"model {model.name!r} {PROBABILITIES}.")
    return inference.judged(scores, validation.class_labels(labels, scores.shape[1]))


def are_probabilities(scores: Array) -> bool:
    """Tells whether a model's answers are probabilities, not logits.

    Losses take them for logits, so their gradients nearly vanish where the model is sure, and
    attacks overstate its robustness. Equal answers to several images, as a collapsed network
    gives, are not called probabilities.

    Args:
        scores: array `(n, ..., classes)`.

    Example:

    >>> are_probabilities(np.array([[0.9, 0.1], [0.4, 0.6]]))
    True
    >>> are_probabilities(np.array([[2.0, -1.0], [0.4, 0.6]]))
    False
    """
    if len(scores) > 1 and (scores == scores[:1]).all():
        return False
    return bool((scores >= 0).all() and np.allclose(scores.sum(axis=-1), 1, atol=1e-2))


def judged(
    model: keras.Model, images: ArrayLike, labels: ArrayLike, batch_size: int = 128
) -> tuple[Array, Array]:
    """Tells which images a model classifies right, and which it answers with finite logits.

    Args:
        model: a `keras.Model` from images to logits.
        images: finite values `(n, ...)`, `n >= 1`.
        labels: whole numbers `(n,)` or `(n, 1)`, or one-hot rows `(n, classes)`.
        batch_size: images at a time, at least 1.

    Returns:
        `(right, finite)`, boolean arrays `(n,)`. A non-finite answer is wrong.
    """
    scores = _scores(model, images, batch_size)
    return inference.judged(scores, validation.class_labels(labels, scores.shape[1]))


def right(model: keras.Model, images: ArrayLike, labels: ArrayLike, batch_size: int = 128) -> Array:
    """Tells which images a model classifies right; arguments as in `judged`."""
    return judged(model, images, labels, batch_size)[0]


def craft(
    model: keras.Model,
    attack: Callable,
    images: ArrayLike,
    labels: ArrayLike,
    batch_size: int = 128,
) -> Array:
    """Makes the adversarial images of an attack, batch by batch.

    These are the images that `evaluate` and `robust_accuracy` count, up to rounding: what an attack
    of this package draws for an image depends on its seed and that image, not on the batch.

    Args:
        model: a `keras.Model` from images in [0, 1] to logits.
        attack: any `attack(model, x, y) -> x_adv`.
        images: array `(n, ...)` in [0, 1], `n >= 1`.
        labels: whole numbers `(n,)` or `(n, 1)`, or one-hot rows `(n, classes)`.
        batch_size: images at a time, at least 1.

    Returns:
        float32 array like the images.

    Raises:
        ValueError: images or labels that do not fit, or an attack that returns other shapes or
            non-finite values.

    Example:

    >>> from keras_dep import attacks
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> x, y = np.full((6, 4), 0.5, "float32"), np.zeros(6, "int32")
    >>> change = craft(model, attacks.FGSM(epsilon=0.1), x, y) - x
    >>> change.shape, round(float(np.abs(change).max()), 3)
    ((6, 4), 0.1)
    """
    validation.whole_number("batch_size", batch_size)
    images, labels = validation.images_and_labels(images, labels)

    def one(place: tuple[Array, int]) -> Array:
        return _crafted(model, attack, images, labels, place[0])[: place[1]]

    places = _places(len(images), batch_size)
    models = [model, *substitutes_of(attack)]
    return np.concatenate(distribution.spread(one, places, models))


def under_attack(
    model: keras.Model,
    attack: Callable,
    images: Array,
    labels: Array,
    batch_size: int = 128,
) -> Iterator[tuple[Array, Array, Array]]:
    """Attacks batch by batch.

    Args:
        model: a `keras.Model` from images to logits.
        attack: any `attack(model, x, y) -> x_adv`, untargeted.
        images: array `(n, ...)` in [0, 1]; nothing is yielded for `n = 0`.
        labels: whole numbers `(n,)` or `(n, 1)`, or one-hot rows `(n, classes)`.
        batch_size: images at a time, at least 1.

    Yields:
        `(right, finite, change)` of each batch: whether the model still classifies each adversarial
        image right, whether it answers it with finite logits, and the largest change of any of its
        pixels.

    Raises:
        ValueError: an attack that returns other shapes or non-finite values.
    """
    validation.whole_number("batch_size", batch_size)
    if not len(images):
        return
    images, labels = validation.images_and_labels(images, labels)

    def one(place: tuple[Array, int]) -> tuple[Array, Array, Array]:
        chosen, count = place
        crafted = _crafted(model, attack, images, labels, chosen)
        still, finite = judged(model, crafted, labels[chosen], len(chosen))
        change = np.abs(crafted - images[chosen]).reshape(len(chosen), -1).max(axis=1)
        return still[:count], finite[:count], change[:count]

    models = [model, *substitutes_of(attack)]
    places, abreast = _places(len(images), batch_size), distribution.workers().count
    for start in range(0, len(places), abreast):
        yield from distribution.spread(one, places[start : start + abreast], models)


def robust_accuracy(
    model: keras.Model,
    attack: Callable,
    images: ArrayLike,
    labels: ArrayLike,
    batch_size: int = 128,
) -> Record:
    """Measures the share of all images that are classified right before and after an attack.

    Arguments as in `under_attack`, with at least one image. Images that the model gets wrong
    without an attack count as errors and are not attacked.

    Returns:
        Dictionary of `accuracy`, its 95 % `interval`, `correct`, `images` and `non_finite_answers`:
        the number of images with a non-finite answer, clean or attacked, which are errors.

    Raises:
        ValueError: no images, images that are not finite or outside [0, 1], labels that do not fit
            them or the model's classes, a model that answers with probabilities, or a batch size
            below 1.

    Example:

    >>> from keras_dep import attacks
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> x, y = np.full((6, 4), 0.5, "float32"), np.zeros(6, "int32")
    >>> robust_accuracy(model, attacks.FGSM(epsilon=0.1), x, y)["images"]
    6
    """
    images, labels = check_data(model, images, labels, batch_size)
    before, finite = clean(model, images, labels, batch_size)
    correct, non_finite = 0, int((~finite).sum())
    for still, answered, _ in under_attack(
        model, attack, images[before], labels[before], batch_size
    ):
        correct += int(still.sum())
        non_finite += int((~answered).sum())
    return {**proportion(correct, len(images)), "non_finite_answers": non_finite}


def substitutes_of(attack: Callable) -> Sequence[keras.Model]:
    """The models that an attack transfers images from."""
    return attack.substitutes if isinstance(attack, Transfer) else ()


def proportion(correct: int, images: int) -> Record:
    """Returns a count as accuracy with its 95 % Wilson interval."""
    return {
        "accuracy": correct / images,
        "interval": list(wilson(correct, images)),
        "correct": int(correct),
        "images": images,
    }


def check_data(
    model: keras.Model, images: ArrayLike, labels: ArrayLike, batch_size: int = 1
) -> tuple[Array, Array]:
    """Returns images as float32 array and labels as int32 array `(n,)`.

    Raises:
        ValueError: no images, images that are not finite or outside [0, 1], labels that do not fit
            them or the model's classes, a model without logits, or a batch size below 1.
    """
    validation.whole_number("batch_size", batch_size)
    images, _ = validation.images_and_labels(images, labels)
    with random_states_kept(model):
        classes = inference.class_count(model, images[:1])
    return images, validation.class_labels(labels, classes)


def _scores(model, images, batch_size):
    with random_states_kept(model):
        return inference.logits(model, images, batch_size)


def _places(total: int, batch_size: int) -> list[tuple[Array, int]]:
    """Indices of each batch, and the number of leading ones that are no filling."""
    found = []
    for start in range(0, total, batch_size):
        count = min(batch_size, total - start)
        # Filled up to a power of two, so that few sizes are compiled.
        size = min(batch_size, 1 << (count - 1).bit_length())
        found.append((np.resize(np.arange(start, start + count), size), count))
    return found


def _crafted(model, attack, images, labels, chosen):
    crafted = np.asarray(attack(model, images[chosen], labels[chosen]))
    _check_crafted(attack, crafted, images[chosen].shape)
    return crafted


def _check_crafted(attack, crafted, shape):
    name = getattr(attack, "__name__", type(attack).__name__)
    if crafted.shape != shape:
        raise ValueError(
            f"attack {name} must return images like those that it was given, {shape}; received "
            f"{crafted.shape}."
        )
    if not np.isfinite(crafted).all():
        raise ValueError(f"attack {name} must return finite images; received others.")
