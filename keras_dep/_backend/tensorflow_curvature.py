"""TensorFlow's gradients in the weights and products with curvature matrices."""

import contextlib
import re
from collections.abc import Callable
from collections.abc import Generator
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_dep._backend import generic
from keras_dep._backend.tensorflow_workers import averaged
from keras_dep._internal.types import Tensor


def loss_gradient(value: Callable[..., Tensor]) -> Callable[..., Tensor]:
    @averaged
    def gradient(weights: Sequence[Tensor], data: Sequence[Any]) -> Tensor:
        with _differentiable(), tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(weights)
            found = value(weights, *data)
            return _flat(tape.gradient(found, weights, unconnected_gradients="zero"))

    return lambda weights, *data: gradient(weights, data)


def differentiable_gradient(
    model: keras.Model, value: Callable[[Tensor], Tensor], x: Tensor
) -> Tensor:
    with _differentiable(), generic.unchanged(model):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            total = value(x)
        # The tape of the training pass records this.
        return tape.gradient(total, x, unconnected_gradients="zero")


def hessian_product(value: Callable[..., Tensor]) -> Callable[..., Callable[[Tensor], Tensor]]:
    @averaged
    def product(weights: Sequence[Tensor], data: Sequence[Any], vector: Tensor) -> Tensor:
        with _differentiable(), tf.GradientTape(watch_accessed_variables=False) as outer:
            outer.watch(weights)
            with tf.GradientTape(watch_accessed_variables=False) as inner:
                inner.watch(weights)
                found = value(weights, *data)
            gradients = inner.gradient(found, weights, unconnected_gradients="zero")
            slope = _inner(gradients, _like(weights, vector))
            return _flat(outer.gradient(slope, weights, unconnected_gradients="zero"))

    return _bound(product)


def gauss_newton_product(
    answer: Callable[..., Tensor], value: Callable[..., Tensor]
) -> Callable[..., Callable[[Tensor], Tensor]]:
    @averaged
    def product(weights: Sequence[Tensor], data: Sequence[Any], vector: Tensor) -> Tensor:
        with _differentiable():
            return _gauss_newton_product(answer, value, weights, data, vector)

    return _bound(product)


def _gauss_newton_product(
    answer: Callable[..., Tensor],
    value: Callable[..., Tensor],
    weights: Sequence[Tensor],
    data: Sequence[Any],
    vector: Tensor,
) -> Tensor:
    with tf.GradientTape(persistent=True, watch_accessed_variables=False) as back:
        back.watch(weights)
        outputs = answer(weights, *data)
    # `pulled` is linear in the cotangent: its gradient multiplies by the Jacobian.
    cotangent = tf.zeros_like(outputs)
    with tf.GradientTape() as forth:
        forth.watch(cotangent)
        pulled = back.gradient(outputs, weights, cotangent, unconnected_gradients="zero")
        slope = _inner(pulled, _like(weights, vector))
    pushed = forth.gradient(slope, cotangent, unconnected_gradients="zero")
    leaf = tf.stop_gradient(outputs)
    with tf.GradientTape() as outer:
        outer.watch(leaf)
        with tf.GradientTape() as inner:
            inner.watch(leaf)
            found = value(leaf, *data)
        slope = inner.gradient(found, leaf, unconnected_gradients="zero")
    bent = outer.gradient(slope, leaf, pushed, unconnected_gradients="zero")
    return _flat(back.gradient(outputs, weights, bent, unconnected_gradients="zero"))


@contextlib.contextmanager
def _differentiable() -> Generator[None, None, None]:
    """Replaces, while tracing, functions of TensorFlow whose second derivative is wrong."""
    replaced = (tf.nn, "moments", _moments), (tf.image, "resize", _resize)
    before = [getattr(module, name) for module, name, _ in replaced]
    for module, name, function in replaced:
        setattr(module, name, function)
    try:
        yield
        _refuse_constant_gradients()
    finally:
        for (module, name, _), function in zip(replaced, before):
            setattr(module, name, function)


def _moments(
    x: Tensor, axes: Any, shift: Any = None, keepdims: bool = False, name: str | None = None
) -> tuple[Tensor, Tensor]:
    # TensorFlow's variance treats the mean as constant, so that its second derivative is wrong.
    mean = tf.reduce_mean(x, axes, keepdims=True)
    variance = tf.reduce_mean(tf.square(x - mean), axes, keepdims=keepdims)
    return mean if keepdims else tf.squeeze(mean, axes), variance


_resized = tf.image.resize
_SCOPE = "resized_linearly"


def _resize(images: Tensor, *arguments: Any, **options: Any) -> Tensor:
    # Resizing is linear in the images, so that the gradient of its gradient is resizing again.
    @tf.custom_gradient
    def forth(images: Tensor) -> tuple[Tensor, Callable[..., Any]]:
        return _resized(images, *arguments, **options), back

    @tf.custom_gradient
    def back(gradient: Tensor) -> tuple[Tensor, Callable[..., Any]]:
        with tf.name_scope(_SCOPE), tf.GradientTape() as tape:
            still = tf.zeros_like(images)
            tape.watch(still)
            outputs = _resized(still, *arguments, **options)
            return tape.gradient(outputs, still, gradient), forth

    # The result is in single precision, and some gradients accept no other inputs.
    is_double = images.dtype == tf.float64
    images = tf.cast(images, tf.float32) if is_double else images
    return forth(images)


# TensorFlow reports a missing gradient while it traces or while it runs.
_NO_GRADIENT = re.compile(r"no entry for: ([\w./-]+)|Detected at node (\S*SymbolicGradient)")
# TensorFlow treats the results of these operations as constants.
_CONSTANT = re.compile("ResizeBilinearGrad|SparseAddGrad|FakeQuantWithMinMax.*Gradient")


def _refuse_constant_gradients() -> None:
    for operation in tf.compat.v1.get_default_graph().get_operations():
        if _CONSTANT.fullmatch(operation.type) and _SCOPE not in operation.name:
            raise LookupError(f"no entry for: {operation.name}")


def _bound(product: Callable[..., Tensor]) -> Callable[..., Callable[[Tensor], Tensor]]:
    def bind(weights: Sequence[Tensor], *data: Any) -> Callable[[Tensor], Tensor]:
        def bound(vector: Tensor) -> Tensor:
            try:
                return product(weights, data, vector)
            except Exception as error:
                found = _NO_GRADIENT.search(str(error))
                if found is None:
                    raise
                raise ValueError(
                    "The model must have a second derivative; TensorFlow has none of "
                    f"{found[1] or found[2]}; replace the layer or loss that computes it."
                ) from error

        return bound

    return bind


def _like(weights: Sequence[Tensor], vector: Tensor) -> list[Tensor]:
    parts = tf.split(vector, [weight.shape.num_elements() for weight in weights])
    return [tf.reshape(part, weight.shape) for part, weight in zip(parts, weights)]


def _inner(one: Sequence[Tensor], other: Sequence[Tensor]) -> Tensor:
    return tf.add_n([tf.reduce_sum(a * b) for a, b in zip(one, other)])


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], axis=0)
