"""Convolution without Keras' copies on torch, and with the fast paths of a CPU."""

import keras

from keras_dep import _backend
from keras_dep._internal.export import export
from keras_dep._internal.types import Tensor


@export
class Conv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D` whose bias is added by the framework's convolution.

    Arguments are those of `keras.layers.Conv2D`.

    Example:

    >>> Conv2D(4, 3)(keras.ops.ones((1, 8, 8, 2))).shape
    (1, 6, 6, 4)
    """

    def call(self, inputs: Tensor) -> Tensor:
        outputs = _backend.convolve(
            inputs,
            self.effective_kernel(),
            self.bias if self.use_bias else None,
            self.strides,
            self.padding,
            self.dilation_rate,
            self.data_format,
        )
        return outputs if self.activation is None else self.activation(outputs)

    def effective_kernel(self) -> Tensor:
        """The kernel of the convolution; subclasses may compute it from the weights."""
        return self.kernel
