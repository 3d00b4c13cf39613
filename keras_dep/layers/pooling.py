"""Average pooling, also to a fixed size for maps of any size."""

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from keras_dep import _backend
from keras_dep._internal.export import export
from keras_dep._internal.types import Record
from keras_dep._internal.types import Shape
from keras_dep._internal.types import Tensor


@export
class AveragePooling2D(keras.layers.AveragePooling2D):
    """`keras.layers.AveragePooling2D` without the copies that Keras makes on torch.

    Arguments are those of `keras.layers.AveragePooling2D`.

    Example:

    >>> AveragePooling2D(2)(ops.ones((1, 8, 8, 3))).shape
    (1, 4, 4, 3)
    """

    def call(self, inputs: Tensor) -> Tensor:
        return _backend.average_pool(
            inputs, self.pool_size, self.strides, self.padding, self.data_format
        )


@export
class PooledTo(keras.layers.Layer):
    """Means over a grid of `size` x `size` windows; small maps are replicated.

    Window `i` of a side of `n` covers `floor(i n / size)` up to `ceil((i + 1) n / size)`, as in
    torch's adaptive pooling. Keras' own adaptive pooling fails in TensorFlow graphs on maps of one
    pixel, and gives NaN on JAX for sizes whose window it rounds outside the map (3, 6 or 7 to 7).

    Args:
        size: rows and columns of the result, at least 1.
        data_format: `"channels_last"` or `"channels_first"`; default: Keras' setting.
        **kwargs: `name` and `dtype`, as in `keras.layers.Layer`.

    Raises:
        ValueError: a size below 1.

    Example:

    >>> PooledTo(2)(ops.ones((1, 3, 5, 8))).shape
    (1, 2, 2, 8)
    """

    def __init__(self, size: int, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if size < 1:
            raise ValueError(f"size must be at least 1; received {size}; 7 is the usual one.")
        self.size = size
        self.data_format = data_format or keras.config.image_data_format()
        self.built = True

    def call(self, inputs: Tensor) -> Tensor:
        rows, columns = (1, 2) if self.data_format == "channels_last" else (2, 3)
        x = self._pool(inputs, rows)
        return self._pool(x, columns)

    def _pool(self, x: Tensor, axis: int) -> Tensor:
        _, *sides, last = x.shape
        means = ops.convert_to_tensor(window_means(x.shape[axis], self.size).T, dtype=x.dtype)
        if axis == 3:
            return ops.matmul(x, ops.transpose(means))
        # From the left: gradients keep the maps' order in memory, which torch's pooling needs.
        if axis == 2:
            return ops.matmul(means[None, None], x)
        merged = ops.reshape(x, (-1, sides[0], sides[1] * last))
        return ops.reshape(ops.matmul(means[None], merged), (-1, self.size, sides[1], last))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch, *rest = input_shape
        if self.data_format == "channels_last":
            return batch, self.size, self.size, rest[-1]
        return batch, rest[0], self.size, self.size

    def get_config(self) -> Record:
        return {**super().get_config(), "size": self.size, "data_format": self.data_format}


def window_means(side: int, size: int) -> npt.NDArray[np.float64]:
    """Matrix `(side, size)` whose columns average the windows."""
    first = np.arange(size) * side // size
    last = -(-np.arange(1, size + 1) * side // size)
    places = np.arange(side)[:, None]
    inside = (places >= first) & (places < last)
    return inside / inside.sum(axis=0)
