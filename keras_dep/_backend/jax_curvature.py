"""JAX's gradients in the weights and products with curvature matrices."""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import jax
import keras
from jax.flatten_util import ravel_pytree

from keras_dep._backend import generic
from keras_dep._internal.types import Tensor


def loss_gradient(value: Callable[..., Tensor]) -> Callable[..., Tensor]:
    @jax.jit
    def gradient(weights: Sequence[Tensor], data: Sequence[Any]) -> Tensor:
        flat, restore = ravel_pytree(weights)
        return jax.grad(lambda flat: value(restore(flat), *data))(flat)

    return lambda weights, *data: gradient(weights, data)


def differentiable_gradient(
    model: keras.Model, value: Callable[[Tensor], Tensor], x: Tensor
) -> Tensor:
    with generic.unchanged(model):
        return jax.grad(value)(x)


def hessian_product(value: Callable[..., Tensor]) -> Callable[..., Callable[[Tensor], Tensor]]:
    @jax.jit
    def maps(weights: Sequence[Tensor], data: Sequence[Any]) -> tuple[Any, ...]:
        flat, restore = ravel_pytree(weights)
        gradient = jax.grad(lambda flat: value(restore(flat), *data))
        return (jax.linearize(gradient, flat)[1],)

    return _bound(maps)


def gauss_newton_product(
    answer: Callable[..., Tensor], value: Callable[..., Tensor]
) -> Callable[..., Callable[[Tensor], Tensor]]:
    @jax.jit
    def maps(weights: Sequence[Tensor], data: Sequence[Any]) -> tuple[Any, ...]:
        flat, restore = ravel_pytree(weights)
        outputs, push = jax.linearize(lambda flat: answer(restore(flat), *data), flat)
        bend = jax.linearize(jax.grad(lambda outputs: value(outputs, *data)), outputs)[1]
        pull = jax.vjp(lambda flat: answer(restore(flat), *data), flat)[1]
        return push, bend, jax.tree_util.Partial(_first, pull)

    return _bound(maps)


def _bound(maps: Callable[..., Any]) -> Callable[..., Callable[[Tensor], Tensor]]:
    """Linearises once per data set, and applies the chain of linear maps to each vector."""

    @jax.jit
    def applied(chain: Any, vector: Tensor) -> Tensor:
        for linear in chain:
            vector = linear(vector)
        return vector

    def bind(weights: Sequence[Tensor], *data: Any) -> Callable[[Tensor], Tensor]:
        chain = maps(weights, data)
        return lambda vector: applied(chain, vector)

    return bind


def _first(function: Callable[[Tensor], Any], vector: Tensor) -> Tensor:
    return function(vector)[0]
