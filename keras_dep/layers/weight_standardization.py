"""Convolution with standardised weights, for networks without batch normalisation."""

import math

import keras
from keras import ops

from keras_dep._internal.export import export
from keras_dep.layers.convolution import Conv2D


@export
class ScaledStandardizedConv2D(Conv2D):
    """`Conv2D` whose kernel is brought to mean 0 and variance `1 / fan_in`, times a learnt gain.

    Per output channel, with the unbiased variance of its `fan_in` weights:

        kernel = gain (weights - mean) / sqrt(fan_in variance + epsilon)

    Args:
        *args: as in `keras.layers.Conv2D`.
        epsilon: keeps channels of equal weights finite.
        **kwargs: as in `keras.layers.Conv2D`.

    Source: Brock et al. 2021 (scaled weight standardisation).

    Example:

    >>> ScaledStandardizedConv2D(4, 3)(ops.ones((1, 8, 8, 2))).shape
    (1, 6, 6, 4)
    """

    def __init__(self, *args, epsilon=1e-4, **kwargs):
        super().__init__(*args, **kwargs)
        self.epsilon = epsilon

    def build(self, input_shape):
        super().build(input_shape)
        # A vector, so that `DEP` does not take it for a matrix and remove all of its gradient.
        self.gain = self.add_weight(shape=(self.filters,), initializer="ones", name="gain")

    def effective_kernel(self):
        """The kernel that convolves, computed in float32 at least."""
        kernel = self.kernel
        dtype = "float64" if self.compute_dtype == "float64" else "float32"
        weights = ops.cast(kernel, dtype)
        # The derivative of `ops.moments` is no function that TensorFlow differentiates rightly.
        mean = ops.mean(weights, axis=(0, 1, 2), keepdims=True)
        variance = ops.mean(ops.square(weights - mean), axis=(0, 1, 2), keepdims=True)
        fan_in = math.prod(kernel.shape[:-1])
        # Divided by fan_in where the source divides by fan_in - 1.
        unbiased = variance * (fan_in / max(fan_in - 1, 1))
        scale = ops.cast(self.gain, dtype) * ops.rsqrt(fan_in * unbiased + self.epsilon)
        return ops.cast((weights - mean) * scale, kernel.dtype)

    # `Conv2D` would save and load its kernel and bias alone.
    save_own_variables = keras.layers.Layer.save_own_variables
    load_own_variables = keras.layers.Layer.load_own_variables

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}
