"""Gradients and products with curvature matrices in torch."""

import contextlib
import re

import torch
from torch.nn.attention import SDPBackend

from keras_dep._backend import generic


def loss_gradient(value):
    def gradient(weights, *data):
        weights = _leaves(weights)
        with torch.enable_grad():
            return _flat(_gradients(value(weights, *data), weights)).detach()

    return gradient


def differentiable_gradient(model, value, x):
    x = x.detach().requires_grad_(True)
    with _twice_differentiable(), generic.unchanged(model):
        return _gradients(value(x), [x], create_graph=True)[0]


def hessian_product(value):
    def bind(weights, *data):
        weights = _leaves(weights)
        with _twice_differentiable():
            gradient = _flat(_gradients(value(weights, *data), weights, create_graph=True))

        def product(vector):
            # The graph of the gradient serves every vector.
            with _twice_differentiable():
                return _flat(_gradients(gradient, weights, vector, retain_graph=True)).detach()

        return product

    return bind


def gauss_newton_product(answer, value):
    def bind(weights, *data):
        weights = _leaves(weights)
        with _twice_differentiable():
            outputs = answer(weights, *data)
            leaf = outputs.detach().requires_grad_(True)
            (slope,) = _gradients(value(leaf, *data), [leaf], create_graph=True)
            # Linear in the cotangent, whose own gradient is then the product with the Jacobian.
            cotangent = torch.zeros_like(leaf, requires_grad=True)
            pulled = _flat(_gradients(outputs, weights, cotangent, create_graph=True))

        def product(vector):
            with _twice_differentiable():
                (pushed,) = _gradients(pulled, [cotangent], vector, retain_graph=True)
                (bent,) = _gradients(slope, [leaf], pushed, retain_graph=True)
                return _flat(_gradients(outputs, weights, bent, retain_graph=True)).detach()

        return product

    return bind


@contextlib.contextmanager
def _twice_differentiable():
    """Gradients are on, attention is computed as its formula says, and what fails says where."""
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


def _leaves(tensors):
    return [tensor.detach().requires_grad_(True) for tensor in tensors]


def _gradients(outputs, inputs, cotangent=None, **options):
    """`torch.autograd.grad`, zero where nothing depends on the inputs."""
    if not outputs.requires_grad:
        return [torch.zeros_like(tensor) for tensor in inputs]
    return torch.autograd.grad(outputs, inputs, cotangent, materialize_grads=True, **options)


def _flat(tensors):
    return torch.cat([tensor.reshape(-1) for tensor in tensors])
