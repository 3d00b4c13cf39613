"""Batch normalisation with time folded into the batch."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_dep import _backend
from keras_dep._internal.export import export
from keras_dep._internal.types import Record
from keras_dep._internal.types import Shape
from keras_dep._internal.types import Tensor
from keras_dep.layers import time_axis


class _BatchNormalization(keras.layers.BatchNormalization):
    """Keras' layer on the framework's kernels, with statistics of each of `timesteps`."""

    timesteps = 1

    def call(
        self, inputs: Tensor, training: bool | None = None, mask: Tensor | None = None
    ) -> Tensor:
        if mask is not None or self.synchronized or self.renorm:
            return super().call(inputs, training=training, mask=mask)
        # Compute statistics in float32: those of half precision overflow.
        dtype = keras.backend.result_type(inputs.dtype, "float32")
        half = keras.backend.standardize_dtype(inputs.dtype) in ("float16", "bfloat16")
        x, axis = inputs if half else ops.cast(inputs, dtype), self.axis % len(inputs.shape)
        gamma = ops.cast(self.gamma, dtype) if self.scale else None
        beta = ops.cast(self.beta, dtype) if self.center else None
        if not training or not self.trainable:
            mean = ops.cast(self.moving_mean, dtype)
            variance = ops.cast(self.moving_variance, dtype)
            outputs = _backend.normalize(x, mean, variance, gamma, beta, axis, self.epsilon)
            return ops.cast(outputs, self.compute_dtype)
        steps = time_axis.unfold(x, self.timesteps)
        workers = _backend.workers()
        if workers.parts > 1 and workers.synchronised:
            outputs, mean, variance = _normalized(
                steps, gamma, beta, axis, self.epsilon, workers.mean
            )
        else:
            normalize = _backend.batch_normalizer(_normalized)
            outputs, mean, variance = normalize(steps, gamma, beta, axis, self.epsilon)
            # The running statistics of all workers are the same.
            mean, variance = (workers.mean(ops.stop_gradient(each)) for each in (mean, variance))
        self._move(self.moving_mean, mean)
        self._move(self.moving_variance, variance)
        return ops.cast(time_axis.fold(outputs), self.compute_dtype)

    def _move(self, running: keras.Variable, statistic: Tensor) -> None:
        """`timesteps` exponential updates in one."""
        statistic, share = ops.stop_gradient(statistic), 1.0 - self.momentum
        # With one step a product would cost four more operations of an eager framework.
        if self.timesteps == 1:
            added = share * statistic[0]
        else:
            ages = ops.arange(self.timesteps - 1, -1, -1, dtype=statistic.dtype)
            added = ops.matmul(share * ops.power(self.momentum, ages), statistic)
        moved = ops.cast(running, statistic.dtype) * self.momentum**self.timesteps
        running.assign(ops.cast(moved + added, running.dtype))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return tuple(input_shape)


def _normalized(
    steps: Tensor,
    gamma: Tensor | None,
    beta: Tensor | None,
    axis: int,
    epsilon: float,
    over_replicas: Callable[[Tensor], Tensor] | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Each step normalised by its statistics, means and variances `(T, channels)`.

    `axis` is the channels' axis of one step. `over_replicas` takes the mean of a statistic over
    equal parts of a batch.
    """
    axes = [place for place in range(1, len(steps.shape)) if place != axis + 1]
    steps = ops.cast(steps, keras.backend.result_type(steps.dtype, "float32"))
    if over_replicas is None:
        mean, variance = ops.moments(steps, axes=axes, keepdims=True)
    else:
        mean = over_replicas(ops.mean(steps, axis=axes, keepdims=True))
        # About the common mean: squares minus the squared mean would cancel.
        variance = over_replicas(ops.mean(ops.square(steps - mean), axis=axes, keepdims=True))
    broadcast = [1] * len(steps.shape)
    channels = broadcast[axis + 1] = steps.shape[axis + 1]
    scale = ops.rsqrt(variance + epsilon)
    if gamma is not None:
        scale = scale * ops.reshape(gamma, broadcast)
    outputs = (steps - mean) * scale
    if beta is not None:
        outputs = outputs + ops.reshape(beta, broadcast)
    return outputs, ops.reshape(mean, (-1, channels)), ops.reshape(variance, (-1, channels))


@export
class MergedBatchNormalization(_BatchNormalization):
    """Batch normalisation with statistics over time and batch together.

    The same as `keras.layers.BatchNormalization` with time folded into the batch; on torch it uses
    the framework's kernel. Arguments are those of Keras. Its defaults, momentum 0.99 and epsilon
    1e-3, differ from torch's, which are 0.9 (in Keras' sense) and 1e-5.

    Example:

    >>> MergedBatchNormalization()(ops.ones((32, 8, 8, 16))).shape
    (32, 8, 8, 16)
    """


@export
class StepwiseBatchNormalization(time_axis.Timed, _BatchNormalization):
    """Batch normalisation with statistics of its own at every time step.

    A network that calls its layers once per step normalises each step by that step's batch, and
    updates the running statistics `timesteps` times per batch. An ordinary `BatchNormalization`
    with time folded into the batch normalises all steps together and updates them once. Published
    models differ in this. This layer gives the result of the loop over steps.

    Args:
        timesteps: number of steps `T` folded into the batch axis, at least 1.
        **kwargs: as in `MergedBatchNormalization`.

    Raises:
        ValueError: `timesteps` is not an integer of at least 1.

    Example:

    >>> StepwiseBatchNormalization(timesteps=4)(ops.ones((32, 8, 8, 16))).shape
    (32, 8, 8, 16)
    """

    def __init__(self, timesteps: int, **kwargs: Any) -> None:
        time_axis.check_timesteps(timesteps)
        super().__init__(**kwargs)
        self.timesteps = timesteps

    def get_config(self) -> Record:
        return {**super().get_config(), "timesteps": self.timesteps}


@export
class ThresholdDependentBatchNormalization(_BatchNormalization):
    """Batch normalisation over time and batch, scaled to the threshold.

    Batch normalisation of the folded `(T * batch, ...)` whose scale starts at `alpha * threshold`.
    The source has a constant factor `alpha * threshold` and a scale that starts at 1.

    Args:
        threshold: firing threshold of the neurons that follow, positive.
        alpha: 1, or `1 / sqrt(n)` where `n` branches are added.
        **kwargs: as in `keras.layers.BatchNormalization`, except `gamma_initializer`.

    Raises:
        ValueError: a threshold that is not positive.

    Source: Zheng et al. 2021 (tdBN).

    Example:

    >>> x = ops.reshape(ops.arange(8.0), (8, 1))
    >>> layer = ThresholdDependentBatchNormalization(threshold=0.5)
    >>> round(float(ops.std(layer(x, training=True))), 2)
    0.5
    """

    def __init__(self, threshold: float = 1.0, alpha: float = 1.0, **kwargs: Any) -> None:
        if not threshold > 0:
            raise ValueError(f"threshold must be positive; received {threshold}.")
        start = keras.initializers.Constant(alpha * threshold)
        super().__init__(**kwargs, gamma_initializer=start)
        self.threshold = threshold
        self.alpha = alpha

    def get_config(self) -> Record:
        config = super().get_config()
        del config["gamma_initializer"]
        return {**config, "threshold": self.threshold, "alpha": self.alpha}
