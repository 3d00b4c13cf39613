"""Writes layers with weights, pooling and flattening as nodes of a NIR graph."""

import dataclasses
import math
from collections.abc import Sequence

import keras
import numpy as np
from keras import layers

from keras_dep._internal.types import Array
from keras_dep._internal.types import Tensor
from keras_dep.interop.nir import layout
from keras_dep.interop.nir.signals import Signal
from keras_dep.interop.nir.signals import Writer
from keras_dep.interop.nir.signals import array
from keras_dep.interop.nir.signals import behind
from keras_dep.interop.nir.signals import refusal
from keras_dep.interop.nir.signals import single
from keras_dep.layers import convolution
from keras_dep.layers import pooling
from keras_dep.layers import weight_standardization


def write_input(
    writer: Writer, layer: layers.Layer, inputs: Sequence[Tensor], output: Tensor
) -> Signal:
    """Writes the input node."""
    shape = layout.map_shape(output.shape[1:], writer.last)
    return writer.add("input", writer.nir.Input(np.array(shape)), Signal((), shape))


def write_encoder(
    writer: Writer, layer: layers.Layer, inputs: Sequence[Tensor], output: Tensor
) -> Signal:
    """Leaves out an encoder at the input: the graph takes encoded data."""
    if not isinstance(behind(inputs[0])[0], layers.InputLayer):
        raise refusal(layer, "be at the input", "move it to the front")
    return write_input(writer, layer, inputs, output)


def write_convolution(
    writer: Writer,
    layer: layers.Layer,
    inputs: Sequence[Tensor],
    output: Tensor,
    scale: float | Array = 1.0,
    shift: float | Array = 0.0,
) -> Signal:
    """Writes a `Conv2d` whose outputs are scaled and shifted per channel."""
    _check_linear(layer)
    kernel = _whole(layer, _kernel(layer))
    signal, padding = _padded(writer, layer, inputs, kernel.shape[:2], layer.dilation_rate)
    node = writer.nir.Conv2d(
        input_shape=signal.shape[1:],
        weight=single(np.transpose(kernel * scale, (3, 2, 0, 1))),
        stride=tuple(layer.strides),
        padding=padding,
        dilation=tuple(layer.dilation_rate),
        groups=1,
        bias=single(_bias(layer, kernel) * scale + shift),
    )
    shape = tuple(map(int, node.output_type["output"]))
    return writer.add(layer.name, node, signal, shape=shape)


def write_dense(
    writer: Writer,
    layer: layers.Layer,
    inputs: Sequence[Tensor],
    output: Tensor,
    scale: float | Array = 1.0,
    shift: float | Array = 0.0,
) -> Signal:
    """Writes an `Affine` or `Linear`; a `PooledTo` before it is folded into its matrix."""
    _check_linear(layer)
    kernel = _kernel(layer)
    bias = _bias(layer, kernel) * scale + shift
    flatten, flatten_inputs = behind(inputs[0])
    pool = None
    if isinstance(flatten, layers.Flatten):
        pool, pool_inputs = behind(flatten_inputs[0])
    if isinstance(pool, pooling.PooledTo):
        signal = writer.signal(pool_inputs[0])
        kernel = _unpooled(kernel, signal.shape, pool.size, writer.last)
        signal = _flat(writer, flatten.name, signal)
    else:
        signal = writer.signal(inputs[0])
    if len(signal.shape) != 1:
        raise refusal(layer, "act on vectors", "flatten maps first")
    weight = single(layout.to_rows(kernel * scale, signal.flattened).T)
    node = writer.nir.Linear(weight)
    if layer.use_bias or np.any(bias):
        node = writer.nir.Affine(weight, single(bias))
    return writer.add(layer.name, node, signal, shape=(len(bias),), flattened=None)


FOLDING = {
    layers.Conv2D: write_convolution,
    convolution.Conv2D: write_convolution,
    layers.DepthwiseConv2D: write_convolution,
    weight_standardization.ScaledStandardizedConv2D: write_convolution,
    layers.Dense: write_dense,
}


def write_batch_normalization(
    writer: Writer, layer: layers.Layer, inputs: Sequence[Tensor], output: Tensor
) -> Signal:
    """Folds it into the layer with weights before it, or writes a diagonal matrix."""
    rank = len(output.shape)
    if layer.axis % rank != (rank - 1 if writer.last or rank == 2 else 1):
        raise refusal(layer, "normalise channels", "set its axis")
    scale = 1 / np.sqrt(array(layer.moving_variance) + layer.epsilon)
    if layer.scale:
        scale = scale * array(layer.gamma)
    shift = -array(layer.moving_mean) * scale
    if layer.center:
        shift = shift + array(layer.beta)
    source, source_inputs = behind(inputs[0])
    if type(source) in FOLDING:
        write = FOLDING[type(source)]
        return write(writer, source, source_inputs, output, scale=scale, shift=shift)
    return _channelwise(writer, layer.name, writer.signal(inputs[0]), scale, shift)


def write_pixel_normalization(
    writer: Writer, layer: layers.Layer, inputs: Sequence[Tensor], output: Tensor
) -> Signal:
    """Writes a diagonal matrix: folding it into a padded convolution would shift the zeros."""
    if layer.invert:
        raise refusal(layer, "normalise forwards", "leave out invert=True")
    signal = writer.signal(inputs[0])
    scale = 1 / np.maximum(np.sqrt(array(layer.variance)), keras.config.epsilon())
    scale, mean = (np.ravel(values) for values in (scale, array(layer.mean)))
    if np.all(scale == 1) and not np.any(mean):
        return signal
    scale, shift = (np.broadcast_to(v, signal.shape[:1]) for v in (scale, -mean * scale))
    return _channelwise(writer, layer.name, signal, scale, shift)


def write_average_pooling(
    writer: Writer, layer: layers.Layer, inputs: Sequence[Tensor], output: Tensor
) -> Signal:
    """Writes an `AvgPool2d` that includes the zero padding before it."""
    signal, padding = _padded(writer, layer, inputs, layer.pool_size, (1, 1))
    if layer.padding == "same" and any(padding):
        raise refusal(layer, "average whole windows", 'choose padding="valid"')
    return _pool(writer, layer.name, signal, layer.pool_size, layer.strides, padding)


def write_global_pooling(
    writer: Writer, layer: layers.Layer, inputs: Sequence[Tensor], output: Tensor
) -> Signal:
    """Writes an `AvgPool2d` over the whole map, and a `Flatten`."""
    if layer.keepdims:
        raise refusal(layer, "give vectors", "leave out keepdims=True")
    signal = writer.signal(inputs[0])
    window = signal.shape[1:]
    signal = _pool(writer, layer.name, signal, window, window, (0, 0))
    signal = _flat(writer, f"{layer.name}_flatten", signal)
    return dataclasses.replace(signal, flattened=None)


def write_flatten(
    writer: Writer, layer: layers.Layer, inputs: Sequence[Tensor], output: Tensor
) -> Signal:
    """Writes a `Flatten`."""
    return _flat(writer, layer.name, writer.signal(inputs[0]))


def _flat(writer: Writer, name: str, signal: Signal) -> Signal:
    if len(signal.shape) == 1:
        return signal
    node = writer.nir.Flatten(np.array(signal.shape), start_dim=0, end_dim=-1)
    flattened = signal.shape if writer.last else None
    return writer.add(name, node, signal, shape=(math.prod(signal.shape),), flattened=flattened)


def _pool(
    writer: Writer,
    name: str,
    signal: Signal,
    window: Sequence[int],
    strides: Sequence[int],
    padding: Sequence[int],
) -> Signal:
    sides = [
        (size + 2 * zeros - width) // step + 1
        for size, width, step, zeros in zip(signal.shape[1:], window, strides, padding)
    ]
    node = writer.nir.AvgPool2d(*(np.array(sizes) for sizes in (window, strides, padding)))
    return writer.add(name, node, signal, shape=(signal.shape[0], *sides))


def _channelwise(writer: Writer, name: str, signal: Signal, scale: Array, shift: Array) -> Signal:
    if len(signal.shape) == 1:
        scale, shift = (layout.to_rows(values, signal.flattened) for values in (scale, shift))
        node = writer.nir.Affine(single(np.diag(scale)), single(shift))
    else:
        matrix = single(np.diag(scale))[:, :, None, None]
        node = writer.nir.Conv2d(signal.shape[1:], matrix, 1, 0, 1, groups=1, bias=single(shift))
    return writer.add(name, node, signal)


def _padded(
    writer: Writer,
    layer: layers.Layer,
    inputs: Sequence[Tensor],
    window: Sequence[int],
    dilation: Sequence[int],
) -> tuple[Signal, tuple[int, ...]]:
    """Returns the signal before any padding, and the zeros on either side of height and width."""
    source, source_inputs = behind(inputs[0])
    if isinstance(source, layers.ZeroPadding2D):
        uneven = any(before != after for before, after in source.padding)
        if uneven or layer.padding != "valid":
            raise refusal(layer, "be padded once and evenly", "pad by one number on every side")
        return writer.signal(source_inputs[0]), tuple(before for before, _ in source.padding)
    signal = writer.signal(inputs[0])
    if layer.padding == "valid":
        return signal, (0, 0)
    sides = zip(signal.shape[1:], window, layer.strides, dilation)
    missing = [
        max((math.ceil(size / step) - 1) * step + gap * (width - 1) + 1 - size, 0)
        for size, width, step, gap in sides
    ]
    if any(zeros % 2 for zeros in missing):
        raise refusal(
            layer, "be padded evenly", "choose an odd window and no strides, or pad ahead"
        )
    return signal, tuple(zeros // 2 for zeros in missing)


def _unpooled(kernel: Array, shape: Sequence[int], size: int, last: bool) -> Array:
    """Converts a kernel on the map pooled to `size` to an equal one on the map itself."""
    channels, *sides = shape
    rows, columns = (pooling.window_means(side, size) for side in sides)
    grid = (size, size, channels) if last else (channels, size, size)
    pattern = "hi,wj,ijco->hwco" if last else "hi,wj,cijo->chwo"
    kernel = kernel.reshape(*grid, -1)
    return np.einsum(pattern, rows, columns, kernel).reshape(math.prod(shape), -1)


def _whole(layer: layers.Layer, kernel: Array) -> Array:
    """Fills a grouped kernel with zeros; the type check of `nir` supports no groups, no oblongs."""
    if kernel.shape[0] != kernel.shape[1]:
        raise refusal(layer, "have a square window", "fill it up with zeros")
    if isinstance(layer, layers.DepthwiseConv2D):
        groups, kernel = kernel.shape[2], kernel.reshape(*kernel.shape[:2], 1, -1)
    else:
        groups = layer.groups
    *window, inputs, outputs = kernel.shape
    result = np.zeros((*window, groups, inputs, groups, outputs // groups))
    for group, part in enumerate(np.split(kernel, groups, axis=-1)):
        result[:, :, group, :, group] = part
    return result.reshape(*window, groups * inputs, outputs)


def _check_linear(layer: layers.Layer) -> None:
    if layer.activation is not keras.activations.linear:
        raise refusal(layer, "be linear", "leave its activation to neurons behind it")


def _kernel(layer: layers.Layer) -> Array:
    if isinstance(layer, convolution.Conv2D):
        return array(layer.effective_kernel())
    mode = layer.quantization_mode
    if mode is None:
        return array(layer.kernel)
    if not isinstance(layer, layers.Dense):
        raise refusal(layer, "hold weights, not codes", f"write it ahead of quantize({mode!r})")
    return _by_its_outputs(layer)


# Rows of the identity at a time: the whole identity may not fit in memory.
ROWS = 1024


def _by_its_outputs(layer: layers.Layer) -> Array:
    """Computes the kernel of a quantised dense layer as its outputs for unit vectors."""
    size = layer.input_spec.axes[-1]
    # Float8 rounds inputs too: an input that equals the scale is exact.
    unit = float(array(layer.inputs_scale)) if layer.quantization_mode == "float8" else 1.0
    places = range(0, size, ROWS)
    units = (np.eye(min(ROWS, size - place), size, place, "float32") for place in places)
    answers = np.concatenate([array(layer(unit * rows)) for rows in units])
    return (answers - (array(layer.bias) if layer.use_bias else 0.0)) / unit


def _bias(layer: layers.Layer, kernel: Array) -> Array:
    return array(layer.bias) if layer.use_bias else np.zeros(kernel.shape[-1])
