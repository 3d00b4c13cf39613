"""Convolution as one product: every window of the maps, laid out as a row, times the kernel.

On a CPU the frameworks' own convolutions lose their way where a map is smaller than the kernel.
"""

from keras import ops


def possible(inputs, kernel, strides, padding, dilation_rate, data_format):
    """Whether `product` computes it: one group, no gaps, known sizes, something left of maps."""
    maps = _last(inputs.shape, data_format)
    if None in maps[1:] or max(dilation_rate) > 1 or maps[3] != kernel.shape[2]:
        return False
    return min(_sizes(maps, kernel, strides, padding)) > 0


def preferable(inputs, kernel, strides, padding, dilation_rate, data_format):
    """Whether it does, and the result is smaller than the kernel."""
    if not possible(inputs, kernel, strides, padding, dilation_rate, data_format):
        return False
    sizes = _sizes(_last(inputs.shape, data_format), kernel, strides, padding)
    return any(size < side for size, side in zip(sizes, kernel.shape))


def product(inputs, kernel, bias, strides, padding, data_format):
    """The convolution, plus the bias or `None`."""
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
    # As a stack of matrices TensorFlow would multiply each of them by itself.
    laid_out = ops.reshape(ops.concatenate(shifted, -1), (-1, len(shifted) * channels))
    outputs = laid_out @ ops.reshape(kernel, (-1, filters))
    outputs = ops.reshape(outputs if bias is None else outputs + bias, (-1, *sizes, filters))
    return ops.moveaxis(outputs, 3, 1) if first else outputs


def stepped(inputs, kernel, strides, data_format):
    """Inputs and strides of the same convolution: windows of one point step over the maps first.

    On a processor with AVX2 alone oneDNN writes the gradient of such a kernel, strided and of few
    channels, past the end of its memory.
    """
    if max(strides) == 1 or tuple(kernel.shape[:2]) != (1, 1):
        return inputs, strides
    down, right = strides
    if data_format == "channels_first":
        return inputs[:, :, ::down, ::right], (1, 1)
    return inputs[:, ::down, ::right], (1, 1)


def _last(shape, data_format):
    batch, *rest = shape
    return (batch, *rest[1:], rest[0]) if data_format == "channels_first" else (batch, *rest)


def _sizes(shape, kernel, strides, padding):
    sides = shape[1:3]
    if padding == "same":
        return [-(-side // stride) for side, stride in zip(sides, strides)]
    rests = (side - width for side, width in zip(sides, kernel.shape))
    return [rest // stride + 1 for rest, stride in zip(rests, strides)]
