"""Convolution as one matrix product: each window of the maps becomes a row (im2col).

On a CPU the frameworks' own convolutions are slow where a map is smaller than the kernel.
"""

from collections.abc import Sequence
from typing import Any

from keras import ops

from keras_dep._internal.types import Tensor


def possible(
    inputs: Tensor,
    kernel: Tensor,
    strides: tuple[int, ...],
    padding: str,
    dilation_rate: tuple[int, ...],
    data_format: str,
) -> bool:
    """Whether `product` supports it: one group, no dilation, known sizes and a non-empty result."""
    maps = _last(inputs.shape, data_format)
    if None in maps[1:] or max(dilation_rate) > 1 or maps[3] != kernel.shape[2]:
        return False
    return min(_sizes(maps, kernel, strides, padding)) > 0


def preferable(
    inputs: Tensor,
    kernel: Tensor,
    strides: tuple[int, ...],
    padding: str,
    dilation_rate: tuple[int, ...],
    data_format: str,
) -> bool:
    """Whether `product` supports it and the result is smaller than the kernel."""
    if not possible(inputs, kernel, strides, padding, dilation_rate, data_format):
        return False
    sizes = _sizes(_last(inputs.shape, data_format), kernel, strides, padding)
    return any(size < side for size, side in zip(sizes, kernel.shape))


def product(
    inputs: Tensor,
    kernel: Tensor,
    bias: Tensor | None,
    strides: tuple[int, ...],
    padding: str,
    data_format: str,
) -> Tensor:
    """Computes the convolution and adds the bias, if any."""
    first = data_format == "channels_first"
    maps = ops.moveaxis(inputs, 1, 3) if first else inputs
    *window, channels, filters = kernel.shape
    sizes = _sizes(maps.shape, kernel, strides, padding)
    spans = [(size - 1) * stride + 1 for size, stride in zip(sizes, strides)]
    if padding == "same":
        sides = zip(spans, window, maps.shape[1:3])
        zeros = [max(span + side - 1 - whole, 0) for span, side, whole in sides]
        maps = ops.pad(maps, [(0, 0), *((n // 2, n - n // 2) for n in zeros), (0, 0)])
    (rows, columns), (down, right) = spans, strides
    shifted = [
        maps[:, row : row + rows : down, column : column + columns : right]
        for row in range(window[0])
        for column in range(window[1])
    ]
    # TensorFlow would multiply the matrices of a stack one by one.
    laid_out = ops.reshape(ops.concatenate(shifted, -1), (-1, len(shifted) * channels))
    outputs = laid_out @ ops.reshape(kernel, (-1, filters))
    outputs = ops.reshape(outputs if bias is None else outputs + bias, (-1, *sizes, filters))
    return ops.moveaxis(outputs, 3, 1) if first else outputs


def stepped(
    inputs: Tensor, kernel: Tensor, strides: tuple[int, ...], data_format: str
) -> tuple[Tensor, tuple[int, ...]]:
    """Applies the strides of a 1x1 convolution to its inputs, and returns both, strides now 1.

    On a processor with AVX2 but no newer extension, oneDNN writes the gradient of such a kernel
    with few channels past the end of its memory if the convolution is strided.
    """
    if max(strides) == 1 or tuple(kernel.shape[:2]) != (1, 1):
        return inputs, strides
    down, right = strides
    if data_format == "channels_first":
        return inputs[:, :, ::down, ::right], (1, 1)
    return inputs[:, ::down, ::right], (1, 1)


def _last(shape: Sequence[int | None], data_format: str) -> tuple[int | None, ...]:
    batch, *rest = shape
    return (batch, *rest[1:], rest[0]) if data_format == "channels_first" else (batch, *rest)


def _sizes(
    shape: Sequence[Any], kernel: Tensor, strides: tuple[int, ...], padding: str
) -> list[int]:
    sides = shape[1:3]
    if padding == "same":
        return [-(-side // stride) for side, stride in zip(sides, strides)]
    rests = (side - width for side, width in zip(sides, kernel.shape))
    return [rest // stride + 1 for rest, stride in zip(rests, strides)]
