"""Convolution on JAX."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import keras
from jax.custom_derivatives import SymbolicZero

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
    options = (strides, padding, dilation_rate, data_format)
    if jax.default_backend() != "cpu" or not windows.possible(inputs, kernel, *options):
        return generic.convolve(inputs, kernel, bias, *options)
    if windows.preferable(inputs, kernel, *options):
        # XLA's fast path on a CPU excludes these sizes: a kernel of three on maps of two by two
        # takes fifty times as long as a product.
        return windows.product(inputs, kernel, bias, strides, padding, data_format)
    outputs = _convolution(*options)(inputs, kernel)
    return outputs if bias is None else generic.biased(outputs, bias, data_format)


@functools.cache
def _convolution(
    strides: tuple[int, ...], padding: str, dilation_rate: tuple[int, ...], data_format: str
) -> Callable[[Tensor, Tensor], Tensor]:
    """A convolution whose derivative in the kernel is a matrix product.

    On a CPU XLA's own derivative takes five times as long for large maps: 32 by 32, 64 channels.
    """
    options = (strides, padding, dilation_rate, data_format)

    @jax.custom_jvp
    def convolution(inputs: Tensor, kernel: Tensor) -> Tensor:
        return generic.convolve(inputs, kernel, None, *options)

    # The windows take nine times the memory of the maps: they are recomputed, not kept.
    @jax.checkpoint
    def product(inputs: Tensor, kernel: Tensor) -> Tensor:
        return windows.product(inputs, kernel, None, strides, padding, data_format)

    def derivative(primals: Any, tangents: Any) -> tuple[Tensor, Tensor]:
        (inputs, kernel), (moved, turned) = primals, tangents
        parts = []
        if not isinstance(moved, SymbolicZero):
            parts.append(convolution(moved, kernel))
        if not isinstance(turned, SymbolicZero):
            parts.append(product(inputs, turned))
        return convolution(inputs, kernel), sum(parts)

    convolution.defjvp(derivative, symbolic_zeros=True)
    return convolution
