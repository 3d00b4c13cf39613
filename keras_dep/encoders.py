"""Encoders: how an image becomes `timesteps` inputs."""

import keras
from keras import ops

from keras_dep import timewise
from keras_dep._export import export


@export
class DirectEncoding(timewise.Timewise):
    """Repeats its input at every step: `(batch, ...)` to `(T * batch, ...)`, time-major.

    Placed after the first convolution and normalisation it gives the same network as placed before
    them, at `1/T` of their cost.

    Args:
        timesteps: number of steps `T`.
        **kwargs: `name` and `dtype`, as in `keras.layers.Layer`.

    Raises:
        ValueError: `timesteps` is not an integer of at least 1.

    Example:

    >>> DirectEncoding(timesteps=4)(ops.ones((8, 32, 32, 3))).shape
    (32, 32, 32, 3)
    """

    def call(self, inputs):
        return ops.tile(inputs, (self.timesteps,) + (1,) * (len(inputs.shape) - 1))

    def compute_output_shape(self, input_shape):
        batch = None if input_shape[0] is None else input_shape[0] * self.timesteps
        return (batch, *input_shape[1:])


@export
class RateEncoding(timewise.Timewise):
    """Bernoulli spikes with the pixel value as probability: `(batch, ...)` to `(T * batch, ...)`.

    Random in training and in inference. The gradient of a spike with respect to its pixel is 1
    (straight-through), so that white-box attacks are not blinded by the sampling.

    Args:
        timesteps: number of steps `T`.
        seed: seed of the draws, or `None` for Keras' global one.
        **kwargs: `name` and `dtype`, as in `keras.layers.Layer`.

    Call arguments:
        inputs: values in [0, 1]; others act as the nearer bound.

    Raises:
        ValueError: `timesteps` is not an integer of at least 1.

    Example:

    >>> spikes = RateEncoding(timesteps=100, seed=0)(ops.full((1, 1), 0.3))
    >>> 0.1 < float(ops.mean(spikes)) < 0.5
    True
    """

    def __init__(self, timesteps, seed=None, **kwargs):
        super().__init__(timesteps, **kwargs)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs):
        rates = ops.tile(inputs, (self.timesteps,) + (1,) * (len(inputs.shape) - 1))
        draws = keras.random.uniform(ops.shape(rates), dtype="float32", seed=self.seed_generator)
        spikes = ops.cast(draws < ops.cast(rates, "float32"), rates.dtype)
        return spikes + (rates - ops.stop_gradient(rates))

    def compute_output_shape(self, input_shape):
        batch = None if input_shape[0] is None else input_shape[0] * self.timesteps
        return (batch, *input_shape[1:])

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}
