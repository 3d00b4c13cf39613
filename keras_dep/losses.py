"""Losses and accuracy for networks with logits at every time step."""

import math
from typing import Any

import keras
from keras import ops

from keras_dep import _backend
from keras_dep._internal import validation
from keras_dep._internal.export import export
from keras_dep._internal.types import Record
from keras_dep._internal.types import Tensor


def mean_logits(outputs: Tensor) -> Tensor:
    """Averages per-step logits over time.

    Args:
        outputs: logits `(batch, time, classes)`, or `(batch, classes)`, which are returned as they
            are.

    Returns:
        Tensor of shape `(batch, classes)`.

    Raises:
        ValueError: any other rank, or a single class. One output could be a logit or a probability,
            which have different thresholds; give a binary network two logits.

    Example:

    >>> mean_logits(ops.ones((8, 4, 10))).shape
    (8, 10)
    """
    check_logits(outputs.shape)
    return ops.mean(outputs, axis=1) if len(outputs.shape) == 3 else outputs


def check_logits(shape: Any) -> None:
    """Raises `ValueError` unless a shape is that of logits of two classes or more."""
    shape = tuple(shape)
    if len(shape) not in (2, 3):
        raise ValueError(
            "Logits must be (batch, classes) or (batch, time, classes); received shape="
            f"{shape}; end the model in a layer with one of these shapes."
        )
    if shape[-1] is not None and shape[-1] < 2:
        raise ValueError(
            f"Logits must be of at least two classes; received shape={shape}; end a binary model "
            "in two logits, such as keras.ops.concatenate([keras.ops.zeros_like(z), z], axis=-1) "
            "of the single logit z."
        )


def predicted_classes(outputs: Tensor) -> Tensor:
    """Index of the largest mean logit, int32 `(batch,)`; -1 where a mean logit is not finite.

    Args:
        outputs: as in `mean_logits`.

    Returns:
        Tensor of class indices.

    Raises:
        ValueError: as in `mean_logits`.

    Example:

    >>> ops.convert_to_numpy(predicted_classes(ops.array([[0.0, 1], [float("nan"), 1]]))).tolist()
    [1, -1]
    """
    logits = mean_logits(outputs)
    largest = ops.cast(ops.argmax(logits, axis=-1), "int32")
    return ops.where(ops.all(ops.isfinite(logits), axis=-1), largest, -ops.ones_like(largest))


def class_indices(labels: Tensor, classes: int) -> Tensor:
    """Labels as int32 tensor `(batch,)`, also within a compiled function.

    Args:
        labels: whole numbers `(batch,)` or `(batch, 1)`, or one-hot rows `(batch, classes)`, a
            tensor or array of any numeric type.
        classes: number of classes, at least 2.

    Returns:
        Tensor, with -1 for a label that is no class within a compiled function.

    Raises:
        ValueError: another shape; outside a compiled function also a label that is no class.

    Example:

    >>> ops.convert_to_numpy(class_indices(ops.array([[2], [0]]), 3)).tolist()
    [2, 0]
    """
    labels = ops.convert_to_tensor(labels)
    if _backend.readable(labels):
        return ops.convert_to_tensor(validation.class_labels(labels, classes))
    # Assume a column where the graph does not know rank or size.
    columns = (None,) if getattr(labels.shape, "rank", 1) is None else tuple(labels.shape[1:])
    if columns == (classes,):
        largest = ops.cast(ops.argmax(labels, axis=-1), "int32")
        one_hot = ops.cast(ops.one_hot(largest, classes), labels.dtype)
        return ops.where(
            ops.all(ops.equal(labels, one_hot), axis=-1), largest, -ops.ones_like(largest)
        )
    if columns not in ((), (1,), (None,)):
        raise ValueError(
            "labels must be whole numbers (n,) or (n, 1), or one-hot rows (n, classes), of "
            f"{classes} classes; received shape {tuple(labels.shape)}."
        )
    labels = ops.reshape(labels, (-1,))
    whole = ops.cast(labels, "int32")
    known = ops.logical_and(whole >= 0, whole < classes)
    known = ops.logical_and(known, ops.equal(ops.cast(whole, labels.dtype), labels))
    return ops.where(known, whole, -ops.ones_like(whole))


def cross_entropy(classes: Tensor, logits: Tensor) -> Tensor:
    """Cross-entropy of logits `(..., classes)` at class indices `(...)`; NaN for an index of -1."""
    known = classes >= 0
    entropy = ops.sparse_categorical_crossentropy(
        ops.where(known, classes, ops.zeros_like(classes)), logits, from_logits=True
    )
    # Multiply, so that the gradient is NaN too.
    return entropy * ops.where(known, ops.ones_like(entropy), math.nan)


class _SpikingLoss(keras.losses.Loss):
    """`(1 - w) * cross-entropy + w * mean squared distance of all logits to a constant`.

    Subclasses define `_cross_entropy(classes, y_pred)`, of shape `(batch,)`.
    """

    def __init__(
        self,
        mse_weight: float = 0.0,
        mse_target: float = 1.0,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        if not 0 <= mse_weight <= 1:
            raise ValueError(
                f"mse_weight must lie in [0, 1]; received {mse_weight}; 0 leaves the term out."
            )
        super().__init__(name=name, **kwargs)
        self.mse_weight = mse_weight
        self.mse_target = mse_target

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        check_logits(y_pred.shape)
        loss = self._cross_entropy(class_indices(y_true, y_pred.shape[-1]), y_pred)
        if self.mse_weight:
            squares = ops.square(y_pred - self.mse_target)
            distance = ops.mean(squares, axis=tuple(range(1, len(y_pred.shape))))
            loss = (1 - self.mse_weight) * loss + self.mse_weight * distance
        return loss

    def get_config(self) -> Record:
        return {
            **super().get_config(),
            "mse_weight": self.mse_weight,
            "mse_target": self.mse_target,
        }


@export
class MeanLogitCrossentropy(_SpikingLoss):
    """Cross-entropy of the time-averaged logits.

    Args:
        mse_weight: weight in [0, 1] of the squared-error term (0: none).
        mse_target: constant to which the term pulls every logit.
        name: optional name.
        **kwargs: `reduction` and `dtype`, as in `keras.losses.Loss`.

    Call arguments:
        y_true: labels `(batch,)` or `(batch, 1)`, whole numbers, or one-hot rows
            `(batch, classes)`. Within a compiled step the loss of a label that is no class is NaN.
        y_pred: logits `(batch, time, classes)` or `(batch, classes)`.

    Raises:
        ValueError: `mse_weight` outside [0, 1]; at the call, logits or labels of another shape, or
            labels that are no class.

    Example:

    >>> loss = MeanLogitCrossentropy()
    >>> round(float(loss(ops.array([0]), ops.zeros((1, 4, 10)))), 4)
    2.3026
    """

    def _cross_entropy(self, classes: Tensor, y_pred: Tensor) -> Tensor:
        return cross_entropy(classes, mean_logits(y_pred))


@export
class TemporalEfficientTraining(_SpikingLoss):
    """Mean over time of each step's cross-entropy, with an optional squared-error term.

    `(1 - w) (1/T) sum_t CE(z_t, y) + w mean((z - target)^2)`. The released code of the paper uses
    `mse_weight=0.05` and pulls every logit to 1; its text does not mention the term.

    Args:
        mse_weight: weight `w` in [0, 1] of the squared-error term (0: none).
        mse_target: constant to which the term pulls every logit.
        name: optional name.
        **kwargs: `reduction` and `dtype`, as in `keras.losses.Loss`.

    Call arguments:
        y_true: labels `(batch,)` or `(batch, 1)`, whole numbers, or one-hot rows
            `(batch, classes)`. Within a compiled step the loss of a label that is no class is NaN.
        y_pred: logits `(batch, time, classes)` or `(batch, classes)` (one step).

    Raises:
        ValueError: `mse_weight` outside [0, 1]; at the call, logits or labels of another shape, or
            labels that are no class.

    Source: Deng et al., ICLR 2022.

    Example:

    >>> loss = TemporalEfficientTraining(mse_weight=0.05)
    >>> round(float(loss(ops.array([0]), ops.zeros((1, 4, 10)))), 4)
    2.2375
    """

    def _cross_entropy(self, classes: Tensor, y_pred: Tensor) -> Tensor:
        if len(y_pred.shape) == 2:
            return cross_entropy(classes, y_pred)
        classes = ops.repeat(ops.expand_dims(classes, 1), y_pred.shape[1], axis=1)
        return ops.mean(cross_entropy(classes, y_pred), axis=1)


@export
class MeanLogitAccuracy(keras.metrics.SparseCategoricalAccuracy):
    """Share of samples whose time-averaged logits are largest at the label.

    A sample whose mean logits are not finite counts as wrong. Labels are those of
    `MeanLogitCrossentropy`.

    Args:
        name: defaults to `"accuracy"`.
        dtype: as in `keras.metrics.Metric`.

    Example:

    >>> metric = MeanLogitAccuracy()
    >>> metric.update_state(ops.array([1]), ops.one_hot(ops.array([[1, 1, 0]]), 2))
    >>> float(metric.result())
    1.0
    """

    def __init__(self, name: str = "accuracy", dtype: str | None = None) -> None:
        super().__init__(name=name, dtype=dtype)

    def update_state(
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> None:
        y_pred = ops.convert_to_tensor(y_pred)
        check_logits(y_pred.shape)
        classes = class_indices(y_true, y_pred.shape[-1])
        matches = ops.logical_and(ops.equal(predicted_classes(y_pred), classes), classes >= 0)
        # Keras' own comparison predicts class 0 for NaN.
        keras.metrics.Mean.update_state(self, matches, sample_weight)

    def get_config(self) -> Record:
        return {"name": self.name, "dtype": self.dtype}
