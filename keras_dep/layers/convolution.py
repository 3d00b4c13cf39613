"""Convolution without what Keras' own loses: copies on torch, the fast paths of a CPU."""

import keras

from keras_dep import _backend
from keras_dep._internal.export import export


@export
class Conv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D`, its bias added where the framework convolves.

    Args:
        *args: as in `keras.layers.Conv2D`.
        **kwargs: as in `keras.layers.Conv2D`.

    Example:

    >>> Conv2D(4, 3)(keras.ops.ones((1, 8, 8, 2))).shape
    (1, 6, 6, 4)
    """

    def call(self, inputs):
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

    def effective_kernel(self):
        """The kernel that convolves."""
        return self.kernel
