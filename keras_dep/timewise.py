"""Time folded into the batch: the two layouts, and layers that know of both.

Inside a network activations are `(T * batch, ...)`, time-major, so that convolution, pooling and
normalisation see one large batch. At its border they are `(batch, T, ...)`.
"""

import keras
from keras import ops

from keras_dep._export import export


def check_timesteps(timesteps):
    """Raises `ValueError` unless `timesteps` is an integer of at least 1."""
    if isinstance(timesteps, bool) or not isinstance(timesteps, int) or timesteps < 1:
        raise ValueError(f"timesteps must be an integer of at least 1; received {timesteps!r}.")


def unfold(tensor, timesteps):
    """`(T * batch, ...)` to `(T, batch, ...)`."""
    shape = ops.shape(tensor)
    batch = shape[0] // timesteps
    return ops.reshape(tensor, (timesteps, batch, *shape[1:]))


def fold(tensor):
    """`(T, batch, ...)` to `(T * batch, ...)`."""
    shape = ops.shape(tensor)
    return ops.reshape(tensor, (shape[0] * shape[1], *shape[2:]))


class Timewise(keras.layers.Layer):
    """A weightless layer that knows the number of steps."""

    def __init__(self, timesteps, **kwargs):
        super().__init__(**kwargs)
        check_timesteps(timesteps)
        self.timesteps = timesteps
        self.built = True

    def get_config(self):
        return {**super().get_config(), "timesteps": self.timesteps}


@export
class Steps(Timewise):
    """Unfolds time at the end of a network: `(T * batch, ...)` to `(batch, T, ...)`.

    Args:
        timesteps: number of steps `T` folded into the batch axis.
        **kwargs: `name` and `dtype`, as in `keras.layers.Layer`.

    Raises:
        ValueError: `timesteps` is not an integer of at least 1.

    Example:

    >>> Steps(timesteps=4)(ops.ones((32, 10))).shape
    (8, 4, 10)
    """

    def call(self, inputs):
        return ops.swapaxes(unfold(inputs, self.timesteps), 0, 1)

    def compute_output_shape(self, input_shape):
        batch = None if input_shape[0] is None else input_shape[0] // self.timesteps
        return (batch, self.timesteps, *input_shape[1:])


@export
class Frames(Timewise):
    """Folds time at the start of a network: `(batch, T, ...)` to `(T * batch, ...)`.

    Args:
        timesteps: number of steps `T` of the sequence.
        **kwargs: `name` and `dtype`, as in `keras.layers.Layer`.

    Raises:
        ValueError: `timesteps` is not an integer of at least 1.

    Example:

    >>> Frames(timesteps=4)(ops.ones((8, 4, 10))).shape
    (32, 10)
    """

    def call(self, inputs):
        return fold(ops.swapaxes(inputs, 0, 1))

    def compute_output_shape(self, input_shape):
        batch = None if input_shape[0] is None else input_shape[0] * self.timesteps
        return (batch, *input_shape[2:])


@export
class TimeSharedDropout(Timewise):
    """Dropout with one mask per sample, the same at every step.

    Args:
        rate: share of units dropped, in [0, 1).
        timesteps: number of steps `T` folded into the batch axis.
        seed: seed of the masks, or `None` for Keras' global one.
        **kwargs: `name` and `dtype`, as in `keras.layers.Layer`.

    Raises:
        ValueError: a rate outside [0, 1), or `timesteps` below 1.

    Example:

    >>> TimeSharedDropout(0.5, timesteps=4)(ops.ones((32, 10)), training=False).shape
    (32, 10)
    """

    def __init__(self, rate, timesteps, seed=None, **kwargs):
        super().__init__(timesteps, **kwargs)
        if not 0 <= rate < 1:
            raise ValueError(f"rate must lie in [0, 1); received {rate}; 0 drops nothing.")
        self.rate = rate
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs, training=False):
        if not training or not self.rate:
            return inputs
        steps = unfold(inputs, self.timesteps)
        # Without a noise shape torch draws from its global generator, which no state file holds.
        mask = keras.random.dropout(
            ops.ones_like(steps[0]),
            rate=self.rate,
            noise_shape=ops.shape(steps[0]),
            seed=self.seed_generator,
        )
        return fold(steps * mask)

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def get_config(self):
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}
