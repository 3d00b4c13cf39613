"""Logits, accuracy and loss of a model on arrays, without touching its metrics."""

from typing import Any
from typing import NamedTuple

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from keras_dep import _backend
from keras_dep import distribution
from keras_dep._internal import compilation
from keras_dep._internal import keras_internals
from keras_dep._internal import validation
from keras_dep._internal.types import Array
from keras_dep._internal.types import ArrayLike
from keras_dep._internal.types import Tensor
from keras_dep.losses import check_logits
from keras_dep.losses import mean_logits


def logits(model: keras.Model, images: ArrayLike, batch_size: int = 128) -> Array:
    """Time-averaged logits of a model in inference mode, as its layers are now.

    Args:
        model: a `keras.Model` with logits `(batch, classes)` or `(batch, time, classes)`.
        images: finite values, array `(n, ...)`, `n >= 1`.
        batch_size: images per call, at least 1.

    Returns:
        float32 array `(n, classes)`.

    Raises:
        ValueError: no images, a batch size below 1, or a model whose output is no logits.

    Example:

    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    >>> logits(model, np.zeros((5, 3), "float32")).shape
    (5, 2)
    """
    validation.whole_number("batch_size", batch_size)
    compilation.heed_changes(model)
    images = validation.checked_images(images, bounds=None)

    def answer(start: int) -> Array:
        outputs = predict(model, images[start : start + batch_size])
        _check_answer(model, getattr(outputs, "shape", None), outputs)
        return ops.convert_to_numpy(mean_logits(outputs))

    parts = distribution.spread(answer, range(0, len(images), batch_size), [model])
    return np.concatenate(parts).astype("float32")


def predict(model: keras.Model, images: ArrayLike) -> Any:
    """The answers of a model to one batch.

    The devices of `distribution.start` divide it, if they can equally. On TensorFlow the model must
    be made in the scope of its workers, and draw no random numbers.

    Args:
        model: a `keras.Model`, perhaps made under a strategy of TensorFlow.
        images: array or tensor `(n, ...)`, of any `n`.

    Returns:
        What `model.predict_on_batch` gives.

    Example:

    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    >>> predict(model, np.zeros((5, 3), "float32")).shape
    (5, 2)
    """
    return _backend.predict_on_batch(model, images)


def class_count(model: keras.Model, images: Tensor) -> int:
    """Number of classes of a model's logits, at least 2.

    Read from the model's graph. A model without one, such as a subclass with its own `call`, is
    called.

    Args:
        model: a `keras.Model`.
        images: array or tensor `(n, ...)` to call it with.

    Returns:
        The size of the last axis of the output.

    Raises:
        ValueError: a model whose output is no logits.

    Example:

    >>> class_count(keras.Sequential([keras.layers.Dense(2)]), np.zeros((5, 3), "float32"))
    2
    """
    shape: Any = getattr(model, "output_shape", None)
    outputs = shape
    if shape is None:
        try:
            shape = outputs = model.compute_output_shape(tuple(images.shape))
        except NotImplementedError:
            outputs = predict(model, images)
            shape = getattr(outputs, "shape", None)
    _check_answer(model, shape, outputs)
    return int(shape[-1])


def data_formats(model: keras.Model) -> list[str]:
    """The distinct data formats of a model's layers, in their order.

    Example:

    >>> data_formats(keras.Sequential([keras.layers.MaxPooling2D(data_format="channels_first")]))
    ['channels_first']
    """
    formats = {
        getattr(layer, "data_format", None): layer
        for layer in keras_internals.all_layers(model)
        # `Flatten` always has the format of the process; for it only the order matters.
        if not isinstance(layer, keras.layers.Flatten)
    }
    return [each for each in formats if each is not None]


def judged(scores: Array, labels: Array) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Which samples are classified correctly, and which have finite logits.

    A sample whose logits are not finite is classified wrongly.

    Args:
        scores: logits, array `(n, classes)`.
        labels: int32 array `(n,)`.

    Returns:
        `(right, finite)`, boolean arrays `(n,)`.

    Example:

    >>> [each.tolist() for each in judged(np.array([[1.0, 0.0], [np.nan, 0.0]]), np.zeros(2, int))]
    [[True, False], [True, False]]
    """
    finite = np.asarray(np.isfinite(scores).all(axis=1))
    return finite & (scores.argmax(axis=1) == labels), finite


class Score(NamedTuple):
    """The result of `score`.

    Attributes:
        accuracy: share of correct samples, in [0, 1].
        loss: mean cross-entropy of the mean logits.
        non_finite_answers: number of images whose logits are not finite.
    """

    accuracy: float
    loss: float
    non_finite_answers: int


def score(model: keras.Model, images: ArrayLike, labels: ArrayLike, batch_size: int = 128) -> Score:
    """Accuracy and loss of a model on labelled images.

    A sample whose logits are not finite counts as wrong, and makes the loss NaN. Metrics, weights
    and statistics of the model do not change, so a callback of `fit` may call it.

    Args:
        model: as in `logits`.
        images: as in `logits`.
        labels: whole numbers `(n,)` or `(n, 1)`, or one-hot rows `(n, classes)`.
        batch_size: as in `logits`.

    Returns:
        A `Score`.

    Raises:
        ValueError: as in `logits`; labels that do not suit the images or the classes.

    Example:

    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    >>> score(model, np.zeros((5, 3), "float32"), np.zeros(5)).accuracy
    1.0
    """
    images, labels = validation.images_and_labels(images, labels, bounds=None)
    scores = logits(model, images, batch_size)
    labels = validation.class_labels(labels, scores.shape[1])
    right, finite = judged(scores, labels)
    loss = float(np.mean(cross_entropies(scores, labels)))
    return Score(float(right.mean()), loss, int((~finite).sum()))


def accuracy_and_loss(
    model: keras.Model, images: ArrayLike, labels: ArrayLike, batch_size: int = 128
) -> tuple[float, float]:
    """Accuracy and loss, as in `score`."""
    measured = score(model, images, labels, batch_size)
    return measured.accuracy, measured.loss


def cross_entropies(scores: ArrayLike, labels: Array) -> npt.NDArray[np.float64]:
    """Cross-entropy of logits `(n, classes)` per sample, float64; NaN where not finite."""
    scores = np.asarray(scores, "float64")
    scores = np.where(np.isfinite(scores).all(axis=1, keepdims=True), scores, np.nan)
    shifted = scores - scores.max(axis=1, keepdims=True)
    picked = shifted[np.arange(len(labels)), labels]
    return np.log(np.exp(shifted).sum(axis=1)) - picked


def _check_answer(model: keras.Model, shape: Any, outputs: Any) -> None:
    if not isinstance(shape, tuple) and not hasattr(shape, "as_list"):
        raise ValueError(
            f"model must answer one tensor of logits; {model.name!r} answers "
            f"{type(outputs).__name__}; give a model with the logits as its only output."
        )
    check_logits(shape)
