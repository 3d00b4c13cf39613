"""Convolution, pooling and normalisation of maps in torch, which keep their memory format."""

from collections.abc import Callable
from typing import Any

import keras
import torch

from keras_dep._backend import generic
from keras_dep._backend import windows
from keras_dep._internal.types import Tensor


def convolve(
    inputs: Tensor,
    kernel: Tensor,
    bias: Tensor | None,
    strides: tuple[int, ...],
    padding: str,
    dilation_rate: tuple[int, ...],
    data_format: str,
) -> Tensor:
    kernel = keras.ops.convert_to_tensor(kernel)
    bias = None if bias is None else keras.ops.convert_to_tensor(bias)
    if inputs.device.type == "cpu":
        inputs, strides = windows.stepped(inputs, kernel, strides, data_format)
        if windows.preferable(inputs, kernel, strides, padding, dilation_rate, data_format):
            return windows.product(inputs, kernel, bias, strides, padding, data_format)
    if torch.compiler.is_compiling():
        # The compiler chooses the memory format, and fails on a given one with unknown sizes.
        return generic.convolve(inputs, kernel, bias, strides, padding, dilation_rate, data_format)
    maps = _maps(inputs, data_format)
    zeros = [gap * (size - 1) for gap, size in zip(dilation_rate, kernel.shape)]
    if padding == "valid":
        zeros = [0] * len(zeros)
    elif max(strides) == 1 and not any(total % 2 for total in zeros):
        zeros = [total // 2 for total in zeros]
    else:
        # Keras computes uneven padding, which depends on the size.
        outputs = keras.ops.conv(inputs, kernel, strides, padding, data_format, dilation_rate)
        maps = _maps(outputs, data_format)
        return _from_maps(maps if bias is None else maps + bias[:, None, None], data_format)
    groups = maps.shape[1] // kernel.shape[2]
    weights = _Rearranged.apply(kernel, False)
    outputs = torch.nn.functional.conv2d(maps, weights, bias, strides, zeros, dilation_rate, groups)
    return _from_maps(outputs, data_format)


class _Rearranged(torch.autograd.Function):
    """Converts a kernel from Keras' `(height, width, inputs, outputs)` to torch's layout, or back.

    The gradient is converted in the other direction. Both layouts are channels last in memory, and
    so transposed matrices. Transposing tap by tap keeps reads and writes in the caches.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(kernel: Tensor, back: bool) -> Tensor:
        if back:
            outputs, inputs, *window = kernel.shape
            rows = kernel.permute(0, 2, 3, 1).reshape(outputs, -1, inputs)
            taps = torch.cat([tap.t() for tap in rows.unbind(1)])
            return taps.reshape(*window, inputs, outputs)
        *window, inputs, outputs = kernel.shape
        taps = kernel.reshape(-1, inputs, outputs)
        rows = torch.cat([tap.t() for tap in taps.unbind()], 1)
        return rows.reshape(outputs, *window, inputs).permute(0, 3, 1, 2)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.back = inputs[1]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _Rearranged.apply(gradient, not ctx.back), None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: Any) -> Tensor:
        return _Rearranged.apply(tangent, ctx.back)


def average_pool(
    inputs: Tensor,
    pool_size: tuple[int, ...],
    strides: tuple[int, ...],
    padding: str,
    data_format: str,
) -> Tensor:
    if padding != "valid" or torch.compiler.is_compiling():
        return keras.ops.average_pool(inputs, pool_size, strides, padding, data_format)
    maps = _maps(inputs, data_format)
    return _from_maps(torch.nn.functional.avg_pool2d(maps, pool_size, strides), data_format)


def _maps(inputs: Tensor, data_format: str) -> Tensor:
    """Views maps as `(batch, channels, height, width)` without a copy; Keras would copy them."""
    if data_format == "channels_first":
        return inputs
    return inputs.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)


def _from_maps(maps: Tensor, data_format: str) -> Tensor:
    return maps if data_format == "channels_first" else maps.permute(0, 2, 3, 1)


def batch_normalizer(
    program: Callable[..., tuple[Tensor, Tensor, Tensor]],
) -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    def normalize(
        steps: Tensor, gamma: Tensor | None, beta: Tensor | None, axis: int, epsilon: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        if not steps.numel():
            return program(steps, gamma, beta, axis, epsilon)
        if gamma is None:
            # Statistics have the precision of the parameters, or without them of the inputs.
            dtype = torch.promote_types(steps.dtype, torch.float32)
            gamma = steps.new_ones(steps.shape[axis + 1], dtype=dtype)
        found = [
            torch.native_batch_norm(
                step.movedim(axis, 1), gamma, beta, None, None, True, 0.0, epsilon
            )
            for step in steps
        ]
        normalized, means, deviations = zip(*found)
        variances = (torch.stack(deviations) ** -2 - epsilon).clamp(min=0.0)
        moved = [output.movedim(1, axis) for output in normalized]
        # `stack` copies even a single tensor.
        outputs = torch.stack(moved) if len(moved) > 1 else moved[0][None]
        return outputs, torch.stack(means), variances

    return normalize


def normalize(
    inputs: Tensor,
    mean: Tensor,
    variance: Tensor,
    gamma: Tensor | None,
    beta: Tensor | None,
    axis: int,
    epsilon: float,
) -> Tensor:
    outputs = torch.nn.functional.batch_norm(
        inputs.movedim(axis, 1), mean, variance, gamma, beta, False, 0.0, epsilon
    )
    return outputs.movedim(1, axis)
