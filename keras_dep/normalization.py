"""Batch normalisation of a network whose time is folded into the batch."""

import keras
from keras import ops

from keras_dep import timewise
from keras_dep._export import export


@export
class StepwiseBatchNormalization(keras.layers.BatchNormalization):
    """Batch normalisation with statistics of its own at every time step.

    A network that calls its layers once per step normalises each step by that step's batch, and
    moves the running statistics `timesteps` times per batch; folding time into an ordinary
    `BatchNormalization` normalises all steps together and moves them once. Published models
    differ by this. The result is that of the loop, computed at once.

    Args:
        timesteps: number of steps `T` folded into the batch axis, at least 1.
        **kwargs: as in `keras.layers.BatchNormalization`; note that its momentum 0.99 and epsilon
            1e-3 differ from torch's, which are 0.9 (in Keras' sense) and 1e-5.

    Raises:
        ValueError: `timesteps` is not an integer of at least 1.

    Example:

    >>> StepwiseBatchNormalization(timesteps=4)(ops.ones((32, 8, 8, 16))).shape
    (32, 8, 8, 16)
    """

    def __init__(self, timesteps, **kwargs):
        timewise.check_timesteps(timesteps)
        super().__init__(**kwargs)
        self.timesteps = timesteps

    def call(self, inputs, training=None, mask=None):
        if not training or not self.trainable or self.timesteps == 1:
            return super().call(inputs, training=training, mask=mask)
        rank = len(inputs.shape)
        channel = self.axis % rank
        # Statistics of half-precision activations leave their range.
        steps = timewise.unfold(ops.cast(inputs, "float32"), self.timesteps)
        axes = [axis for axis in range(1, rank + 1) if axis != channel + 1]
        mean, variance = ops.moments(steps, axes=axes, keepdims=True)
        self._move(self.moving_mean, mean)
        self._move(self.moving_variance, variance)
        broadcast = [1] * (rank + 1)
        broadcast[channel + 1] = inputs.shape[channel]
        scale = ops.rsqrt(variance + self.epsilon)
        if self.scale:
            scale = scale * ops.reshape(ops.cast(self.gamma, "float32"), broadcast)
        outputs = (steps - mean) * scale
        if self.center:
            outputs = outputs + ops.reshape(ops.cast(self.beta, "float32"), broadcast)
        return ops.cast(timewise.fold(outputs), self.compute_dtype)

    def _move(self, running, statistic):
        """`timesteps` exponential updates in one."""
        statistic = ops.stop_gradient(ops.reshape(statistic, (self.timesteps, -1)))
        ages = ops.arange(self.timesteps - 1, -1, -1, dtype="float32")
        weights = (1.0 - self.momentum) * ops.power(self.momentum, ages)
        moved = ops.cast(running, "float32") * self.momentum**self.timesteps
        running.assign(ops.cast(moved + ops.matmul(weights, statistic), running.dtype))

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def get_config(self):
        return {**super().get_config(), "timesteps": self.timesteps}


@export
class ThresholdDependentBatchNormalization(keras.layers.BatchNormalization):
    """Batch normalisation over time and batch, to a standard deviation of the threshold's size.

    Ordinary batch normalisation of the folded `(T * batch, ...)` whose scale starts at
    `alpha * threshold`, in place of a constant factor in front of a scale that starts at 1.

    Args:
        threshold: firing threshold of the neurons that follow, positive.
        alpha: 1, or `1 / sqrt(n)` where `n` branches are added.
        **kwargs: as in `keras.layers.BatchNormalization`, but `gamma_initializer`.

    Raises:
        ValueError: a threshold that is not positive.

    Source: Zheng et al. 2021 (tdBN).

    Example:

    >>> x = ops.reshape(ops.arange(8.0), (8, 1))
    >>> layer = ThresholdDependentBatchNormalization(threshold=0.5)
    >>> round(float(ops.std(layer(x, training=True))), 2)
    0.5
    """

    def __init__(self, threshold=1.0, alpha=1.0, **kwargs):
        if not threshold > 0:
            raise ValueError(f"threshold must be positive; received {threshold}.")
        start = keras.initializers.Constant(alpha * threshold)
        super().__init__(**kwargs, gamma_initializer=start)
        self.threshold = threshold
        self.alpha = alpha

    def get_config(self):
        config = super().get_config()
        del config["gamma_initializer"]
        return {**config, "threshold": self.threshold, "alpha": self.alpha}
