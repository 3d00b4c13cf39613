"""A model's answers on arrays, without touching its metrics."""

import typing

import keras
import numpy as np
from keras import ops

from keras_dep._internal import compilation
from keras_dep._internal import keras_internals
from keras_dep._internal import validation
from keras_dep.losses import check_logits
from keras_dep.losses import mean_logits


def logits(model, images, batch_size=128):
    """Time-averaged logits of a model in inference mode, as its layers are now.

    Args:
        model: a `keras.Model` that answers `(batch, classes)` or `(batch, time, classes)`.
        images: finite values, array `(n, ...)`, `n >= 1`.
        batch_size: images per call, at least 1.

    Returns:
        float32 array `(n, classes)`.

    Raises:
        ValueError: images that are none, a batch size below 1, or a model that answers no logits.

    Example:

    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    >>> logits(model, np.zeros((5, 3), "float32")).shape
    (5, 2)
    """
    validation.whole_number("batch_size", batch_size)
    compilation.heed_changes(model)
    images, parts = validation.checked_images(images, bounds=None), []
    for start in range(0, len(images), batch_size):
        outputs = model.predict_on_batch(images[start : start + batch_size])
        _check_answer(model, getattr(outputs, "shape", None), outputs)
        parts.append(ops.convert_to_numpy(mean_logits(outputs)))
    return np.concatenate(parts).astype("float32")


def class_count(model, images):
    """Number of classes that a model answers in, at least 2.

    Read from its graph; a model that has none, such as one with a `call` of its own, is asked.

    Args:
        model: a `keras.Model`.
        images: array or tensor `(n, ...)` to ask it with.

    Raises:
        ValueError: a model that answers no logits.

    Example:

    >>> class_count(keras.Sequential([keras.layers.Dense(2)]), np.zeros((5, 3), "float32"))
    2
    """
    shape = outputs = getattr(model, "output_shape", None)
    if shape is None:
        try:
            shape = outputs = model.compute_output_shape(tuple(images.shape))
        except NotImplementedError:
            outputs = model.predict_on_batch(images)
            shape = getattr(outputs, "shape", None)
    _check_answer(model, shape, outputs)
    return int(shape[-1])


def data_formats(model):
    """The distinct data formats of a model's layers, in their order: where its channels are.

    Example:

    >>> data_formats(keras.Sequential([keras.layers.MaxPooling2D(data_format="channels_first")]))
    ['channels_first']
    """
    formats = {
        getattr(layer, "data_format", None): layer
        for layer in keras_internals.all_layers(model)
        # It takes that of the process, and none matters to it but for its order.
        if not isinstance(layer, keras.layers.Flatten)
    }
    return [each for each in formats if each is not None]


def judged(scores, labels):
    """Which rows of logits are right, and which are finite; others are wrong.

    Args:
        scores: array `(n, classes)`.
        labels: int32 array `(n,)`.

    Returns:
        `(right, finite)`, boolean arrays `(n,)`.

    Example:

    >>> [each.tolist() for each in judged(np.array([[1.0, 0.0], [np.nan, 0.0]]), np.zeros(2, int))]
    [[True, False], [True, False]]
    """
    finite = np.isfinite(scores).all(axis=1)
    return finite & (scores.argmax(axis=1) == labels), finite


class Score(typing.NamedTuple):
    """Accuracy in [0, 1], mean cross-entropy of the mean logits, and images answered with something
    that is not finite."""

    accuracy: float
    loss: float
    non_finite_answers: int


def score(model, images, labels, batch_size=128):
    """The `Score` of a model on labelled images.

    An answer that is not finite is wrong, and then the loss is NaN. Metrics, weights and statistics
    of the model stay as they are, so it may be called in a hook of `fit`. Arguments as in `logits`,
    with labels `(n,)` or `(n, 1)`, or one-hot rows.
    """
    images, labels = validation.images_and_labels(images, labels, bounds=None)
    scores = logits(model, images, batch_size)
    labels = validation.class_labels(labels, scores.shape[1])
    right, finite = judged(scores, labels)
    loss = float(np.mean(cross_entropies(scores, labels)))
    return Score(float(right.mean()), loss, int((~finite).sum()))


def accuracy_and_loss(model, images, labels, batch_size=128):
    """The first two values of `score`."""
    return score(model, images, labels, batch_size)[:2]


def cross_entropies(scores, labels):
    """Cross-entropy of each row of logits, float64 array `(n,)`; NaN where one is not finite."""
    scores = np.asarray(scores, "float64")
    scores = np.where(np.isfinite(scores).all(axis=1, keepdims=True), scores, np.nan)
    shifted = scores - scores.max(axis=1, keepdims=True)
    picked = shifted[np.arange(len(labels)), labels]
    return np.log(np.exp(shifted).sum(axis=1)) - picked


def _check_answer(model, shape, outputs):
    if not isinstance(shape, tuple) and not hasattr(shape, "as_list"):
        raise ValueError(
            f"model must answer one tensor of logits; {model.name!r} answers "
            f"{type(outputs).__name__}; give a model of that output alone."
        )
    check_logits(shape)
