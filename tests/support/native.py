"""The compiler of the backend under test, what it compiles to, and its gradients."""

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


def precisions(module, name, tensor):
    """Of each product of matrices in a compiled function: "full", or what it is computed in."""
    function = getattr(module, name)
    backend = keras.backend.backend()
    if backend == "jax":
        program = function.lower(tensor).as_text()
        products = [line for line in program.splitlines() if "dot_general" in line]
        return ["full" if "[HIGHEST, HIGHEST]" in line else line for line in products]
    if backend == "tensorflow":
        program = function.experimental_get_compiler_ir(tensor)(stage="hlo")
        products = [line for line in program.splitlines() if " dot(" in line]
        full = "operand_precision={highest,highest}"
        return ["full" if full in line else line for line in products]
    return _precisions_on_torch(module, function, tensor)


def _precisions_on_torch(module, function, tensor):
    import torch

    found, product = [], module.product
    allowed = torch.get_float32_matmul_precision()
    # The user allows less.
    torch.set_float32_matmul_precision("medium")

    def watched(*args, **kwargs):
        precision = torch.backends.mkldnn.matmul.fp32_precision
        found.append("full" if precision == "ieee" else precision)
        return product(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "product", watched)
        function(tensor)
    if torch.get_float32_matmul_precision() != "medium":
        found.append("what the user allowed is lost")
    torch.set_float32_matmul_precision(allowed)
    return found


def asked(model):
    """A function `ask` for `_backend.gradient_and_outputs`."""

    def ask(x):
        outputs = model(x, training=False)
        return outputs, outputs, ()

    return ask


def input_gradient(model, objective):
    """A function `(x, y)`: the gradient in `x` of the summed `objective(y, outputs)`."""
    both = _backend.gradient_and_outputs(model, objective, asked(model))
    return lambda x, y: both(x, y)[0]
