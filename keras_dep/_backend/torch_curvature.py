"""Gradients and products with curvature matrices in torch."""

import contextlib
import re
from collections.abc import Callable
from collections.abc import Generator
from collections.abc import Sequence
from typing import Any

import keras
import torch
from torch.nn.attention import SDPBackend

from keras_dep._backend import generic
from keras_dep._internal.types import Tensor


def loss_gradient(value: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def gradient(weights: Sequence[Tensor], *data: Any) -> Tensor:
        weights = _leaves(weights)
        with torch.enable_grad():
            return _flat(_gradients(value(weights, *data), weights)).detach()

    return gradient


def differentiable_gradient(
    model: keras.Model, value: Callable[[Tensor], Tensor], x: Tensor
) -> Tensor:
    x = x.detach().requires_grad_(True)
    with _twice_differentiable(), generic.unchanged(model):
        return _gradients(value(x), [x], create_graph=True)[0]


def hessian_product(value: Callable[..., Tensor]) -> Callable[..., Callable[[Tensor], Tensor]]:
    def bind(weights: Sequence[Tensor], *data: Any) -> Callable[[Tensor], Tensor]:
        weights = _leaves(weights)
        with _twice_differentiable():
            gradient = _flat(_gradients(value(weights, *data), weights, create_graph=True))

        def product(vector: Tensor) -> Tensor:
            # All vectors share the graph of the gradient.
            with _twice_differentiable():
                return _flat(_gradients(gradient, weights, vector, retain_graph=True)).detach()

        return product

    return bind


def gauss_newton_product(
    answer: Callable[..., Tensor], value: Callable[..., Tensor]
) -> Callable[..., Callable[[Tensor], Tensor]]:
    def bind(weights: Sequence[Tensor], *data: Any) -> Callable[[Tensor], Tensor]:
        weights = _leaves(weights)
        with _twice_differentiable():
            outputs = answer(weights, *data)
            leaf = outputs.detach().requires_grad_(True)
            (slope,) = _gradients(value(leaf, *data), [leaf], create_graph=True)
            # `pulled` is linear in the cotangent: its gradient multiplies by the Jacobian.
            cotangent = torch.zeros_like(leaf, requires_grad=True)
            pulled = _flat(_gradients(outputs, weights, cotangent, create_graph=True))

        def product(vector: Tensor) -> Tensor:
            with _twice_differentiable():
                (pushed,) = _gradients(pulled, [cotangent], vector, retain_graph=True)
                (bent,) = _gradients(slope, [leaf], pushed, retain_graph=True)
                return _flat(_gradients(outputs, weights, bent, retain_graph=True)).detach()

        return product

    return bind


@contextlib.contextmanager
def _twice_differentiable() -> Generator[None, None, None]:
    """Enables gradients and unfused attention; errors name operations without second derivative."""
    try:
        # Fused attention has a first derivative only.
        with torch.enable_grad(), torch.nn.attention.sdpa_kernel(SDPBackend.MATH):
            yield
    except RuntimeError as error:
        found = re.search(r"derivative for '?([\w:]+)'? is not implemented", str(error))
        if found is None:
            raise
        raise ValueError(
            f"The model must have a second derivative; torch has none of {found[1]}; replace the "
            "layer or loss that computes it."
        ) from error


def _leaves(tensors: Sequence[Tensor]) -> list[Tensor]:
    return [tensor.detach().requires_grad_(True) for tensor in tensors]


def _gradients(
    outputs: Tensor, inputs: Sequence[Tensor], cotangent: Tensor = None, **options: bool
) -> Sequence[Tensor]:
    """Calls `torch.autograd.grad`; returns zeros where nothing depends on the inputs."""
    if not outputs.requires_grad:
        return [torch.zeros_like(tensor) for tensor in inputs]
    return torch.autograd.grad(outputs, inputs, cotangent, materialize_grads=True, **options)


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors])
