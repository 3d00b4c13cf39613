"""Convolution with standardised weights, for networks without batch normalisation."""

import math
from typing import Any

import keras
from keras import ops

from keras_dep._internal.export import export
from keras_dep._internal.types import Record
from keras_dep._internal.types import Shape
from keras_dep._internal.types import Tensor
from keras_dep.layers.convolution import Conv2D


@export
class ScaledStandardizedConv2D(Conv2D):
    """`Conv2D` with a kernel of mean 0 and variance `1 / fan_in`, times a learnt gain.

    Per output channel, with the unbiased variance of its `fan_in` weights:

        kernel = gain (weights - mean) / sqrt(fan_in variance + epsilon)

    Args:
        *args: as in `keras.layers.Conv2D`.
        epsilon: added to the scaled variance, so that channels of equal weights stay finite.
        **kwargs: as in `keras.layers.Conv2D`.

    Source: Brock et al. 2021 (scaled weight standardisation).

    Example:

    >>> ScaledStandardizedConv2D(4, 3)(ops.ones((1, 8, 8, 2))).shape
    (1, 6, 6, 4)
    """

    def __init__(self, *args: Any, epsilon: float = 1e-4, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.epsilon = epsilon

    def build(self, input_shape: Shape) -> None:
        super().build(input_shape)
        # A vector: `DEP` would remove the whole gradient of a matrix with one column.
        self.gain = self.add_weight(shape=(self.filters,), initializer="ones", name="gain")

    def effective_kernel(self) -> Tensor:
        """The standardised kernel, computed in float32 or float64."""
        kernel = self.kernel
        dtype = "float64" if self.compute_dtype == "float64" else "float32"
        weights = ops.cast(kernel, dtype)
        # TensorFlow's second derivative of `ops.moments` is wrong.
        mean = ops.mean(weights, axis=(0, 1, 2), keepdims=True)
        variance = ops.mean(ops.square(weights - mean), axis=(0, 1, 2), keepdims=True)
        fan_in = math.prod(kernel.shape[:-1])
        # Divided by fan_in where the source divides by fan_in - 1.
        unbiased = variance * (fan_in / max(fan_in - 1, 1))
        scale = ops.cast(self.gain, dtype) * ops.rsqrt(fan_in * unbiased + self.epsilon)
        return ops.cast((weights - mean) * scale, kernel.dtype)

    # `Conv2D` would save and load only kernel and bias.
    save_own_variables = keras.layers.Layer.save_own_variables
    load_own_variables = keras.layers.Layer.load_own_variables

    def get_config(self) -> Record:
        return {**super().get_config(), "epsilon": self.epsilon}
