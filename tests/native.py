"""The compiler of the backend under test, and its gradients."""

import keras
import pytest

from keras_dep import _backend

# Values of `jit_compile` to test a train step with.
JIT = [
    False,
    pytest.param(
        True,
        marks=pytest.mark.skipif(
            keras.backend.backend() == "torch",
            reason="torch.compile of a train step takes minutes; eager is Keras' default there",
        ),
    ),
]


def compiled(function):
    """`function` of tensors, compiled as a user of the backend would; torch runs eagerly."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return jax.jit(function, static_argnums=1)
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.function(function)
    return function


def input_gradient(model, objective):
    """A function `(x, y)`: the gradient in `x` of the summed `objective(y, outputs)`."""
    both = _backend.gradient_and_outputs(model, objective, lambda x: (model(x, training=False), ()))
    return lambda x, y: both(x, y)[0]
