"""Losses and accuracy for networks that answer once per time step."""

import keras
from keras import ops

from keras_dep._export import export


def mean_logits(outputs):
    """Averages per-step logits over time.

    Args:
        outputs: logits `(batch, time, classes)`, or `(batch, classes)`, which pass through.

    Returns:
        Tensor of shape `(batch, classes)`.

    Raises:
        ValueError: any other rank.

    Example:

    >>> mean_logits(ops.ones((8, 4, 10))).shape
    (8, 10)
    """
    rank = len(outputs.shape)
    if rank not in (2, 3):
        raise ValueError(
            "Logits must be (batch, classes) or (batch, time, classes); received shape="
            f"{tuple(outputs.shape)}; end the model in a readout of one of these."
        )
    return ops.mean(outputs, axis=1) if rank == 3 else outputs


class _SpikingLoss(keras.losses.Loss):
    """`(1 - w) * cross-entropy + w * mean squared distance of all logits to a constant`."""

    def __init__(self, mse_weight=0.0, mse_target=1.0, name=None, **kwargs):
        if not 0 <= mse_weight <= 1:
            raise ValueError(
                f"mse_weight must lie in [0, 1]; received {mse_weight}; 0 leaves the term out."
            )
        super().__init__(name=name, **kwargs)
        self.mse_weight = mse_weight
        self.mse_target = mse_target

    def call(self, y_true, y_pred):
        loss = self._cross_entropy(y_true, y_pred)
        if self.mse_weight:
            squares = ops.square(y_pred - self.mse_target)
            distance = ops.mean(squares, axis=tuple(range(1, len(y_pred.shape))))
            loss = (1 - self.mse_weight) * loss + self.mse_weight * distance
        return loss

    def get_config(self):
        return {
            **super().get_config(),
            "mse_weight": self.mse_weight,
            "mse_target": self.mse_target,
        }


@export
class MeanLogitCrossentropy(_SpikingLoss):
    """Cross-entropy of the time-averaged logits.

    Args:
        mse_weight: share in [0, 1] of the squared-error term (0: none).
        mse_target: constant that the term pulls every logit to.
        name: optional name.
        **kwargs: `reduction` and `dtype`, as in `keras.losses.Loss`.

    Call arguments:
        y_true: integer labels `(batch,)`.
        y_pred: logits `(batch, time, classes)` or `(batch, classes)`.

    Raises:
        ValueError: `mse_weight` outside [0, 1].

    Example:

    >>> loss = MeanLogitCrossentropy()
    >>> round(float(loss(ops.array([0]), ops.zeros((1, 4, 10)))), 4)
    2.3026
    """

    def _cross_entropy(self, y_true, y_pred):
        return _sparse_cross_entropy(y_true, mean_logits(y_pred))


@export
class TemporalEfficientTraining(_SpikingLoss):
    """Mean over time of each step's cross-entropy, with an optional squared-error term.

    `(1 - w) (1/T) sum_t CE(z_t, y) + w mean((z - target)^2)`. The released code of the paper uses
    `mse_weight=0.05` with every logit pulled to 1, a term that its text does not mention.

    Args:
        mse_weight: share `w` in [0, 1] of the squared-error term (0: none).
        mse_target: constant that the term pulls every logit to.
        name: optional name.
        **kwargs: `reduction` and `dtype`, as in `keras.losses.Loss`.

    Call arguments:
        y_true: integer labels `(batch,)`.
        y_pred: logits `(batch, time, classes)` or `(batch, classes)` (one step).

    Raises:
        ValueError: `mse_weight` outside [0, 1].

    Source: Deng et al., ICLR 2022.

    Example:

    >>> loss = TemporalEfficientTraining(mse_weight=0.05)
    >>> round(float(loss(ops.array([0]), ops.zeros((1, 4, 10)))), 4)
    2.2375
    """

    def _cross_entropy(self, y_true, y_pred):
        mean_logits(y_pred)  # refuses the same ranks
        if len(y_pred.shape) == 2:
            return _sparse_cross_entropy(y_true, y_pred)
        y_true = ops.reshape(y_true, (-1, 1))
        return ops.mean(
            _sparse_cross_entropy(ops.repeat(y_true, y_pred.shape[1], axis=1), y_pred), axis=1
        )


@export
class MeanLogitAccuracy(keras.metrics.SparseCategoricalAccuracy):
    """Share of samples whose time-averaged logits are largest at the label.

    Args:
        name: defaults to `"accuracy"`.
        dtype: as in `keras.metrics.Metric`.

    Example:

    >>> metric = MeanLogitAccuracy()
    >>> metric.update_state(ops.array([1]), ops.one_hot(ops.array([[1, 1, 0]]), 2))
    >>> float(metric.result())
    1.0
    """

    def __init__(self, name="accuracy", dtype=None):
        super().__init__(name=name, dtype=dtype)

    def update_state(self, y_true, y_pred, sample_weight=None):
        super().update_state(y_true, mean_logits(y_pred), sample_weight)

    def get_config(self):
        return {"name": self.name, "dtype": self.dtype}


def _sparse_cross_entropy(labels, logits):
    labels = ops.cast(labels, "int32")
    if len(labels.shape) == len(logits.shape):
        labels = ops.squeeze(labels, axis=-1)
    return ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)
