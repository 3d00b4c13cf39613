"""Derivatives and train steps in JAX."""

import contextlib
import functools

import jax
import keras
from jax.flatten_util import ravel_pytree

from keras_dep._backend import types
from keras_dep._backend import whole_program


def gradient_and_outputs(model, objective, ask):
    @jax.jit
    def both(state, x, y, extra):
        return _gradient_and_outputs(model, objective, ask, state, x, y, extra)

    return lambda x, y, *extra: both(_state(model), x, y, extra)


def loss_gradient(model, loss):
    @jax.jit
    def gradient(trainable, non_trainable, x, y):
        flat, answer = _in_flat_weights(model, trainable, non_trainable, x)
        return jax.grad(lambda flat: loss(y, answer(flat)))(flat)

    return lambda x, y: gradient(*_state(model), x, y)


def hessian_product(model, loss):
    @jax.jit
    def maps(trainable, non_trainable, x, y):
        flat, answer = _in_flat_weights(model, trainable, non_trainable, x)
        gradient = jax.grad(lambda flat: loss(y, answer(flat)))
        return (jax.linearize(gradient, flat)[1],)

    return _bound(model, maps)


def gauss_newton_product(model, loss):
    @jax.jit
    def maps(trainable, non_trainable, x, y):
        flat, answer = _in_flat_weights(model, trainable, non_trainable, x)
        outputs, push = jax.linearize(answer, flat)
        bend = jax.linearize(jax.grad(lambda outputs: loss(y, outputs)), outputs)[1]
        pull = jax.vjp(answer, flat)[1]
        return push, bend, jax.tree_util.Partial(_first, pull)

    return _bound(model, maps)


def compiled(function):
    return functools.wraps(function)(jax.jit(function))


def product(one, other, transpose_one=False, transpose_other=False):
    one = one.mT if transpose_one else one
    other = other.mT if transpose_other else other
    # On a GPU products are rounded to ten bits otherwise.
    return jax.numpy.matmul(one, other, precision="highest")


@contextlib.contextmanager
def double_precision():
    with types.doubles_kept(), jax.enable_x64(True):
        yield


def without(vector, basis):
    # One at a time: a growing stack would be compiled anew.
    for unit in basis:
        vector = _less(vector, unit)
    return vector


@jax.jit
def _less(vector, unit):
    return vector - jax.numpy.sum(vector * unit) * unit


# On a CPU XLA computes a step of a longer chain anew wherever it is used: eight steps and their
# derivative take twenty times as long unrolled. On a GPU a loop costs more than that.
LONGEST_CHAIN = 4
LONGEST_CHAIN_ON_GPU = 16
# Outside a compiled program every call would compile the loop anew.
LONGEST_EAGER_CHAIN = 64


def over_steps(step, start, inputs):
    longest = LONGEST_CHAIN_ON_GPU if jax.default_backend() == "gpu" else LONGEST_CHAIN
    traced = isinstance(inputs, jax.core.Tracer)
    if len(inputs) <= (longest if traced else LONGEST_EAGER_CHAIN):
        return whole_program.over_steps(step, start, inputs)
    return jax.lax.scan(step, start, inputs)[1]


def convolve(inputs, kernel, bias, strides, padding, dilation_rate, data_format):
    kernel = keras.ops.convert_to_tensor(kernel)
    first = data_format == "channels_first"
    maps = jax.numpy.moveaxis(inputs, 1, -1) if first else inputs
    whole = max(dilation_rate) == 1 and maps.shape[-1] == kernel.shape[2]
    if not whole or jax.default_backend() != "cpu" or _wide(maps, kernel, strides, padding):
        options = {"strides": strides, "padding": padding, "dilation_rate": dilation_rate}
        return whole_program.convolve(inputs, kernel, bias, data_format=data_format, **options)
    outputs = _product_with_windows(maps, kernel, strides, padding)
    outputs = outputs if bias is None else outputs + bias
    return jax.numpy.moveaxis(outputs, -1, 1) if first else outputs


def _wide(maps, kernel, strides, padding):
    """Whether the result is no smaller than the kernel, or nothing is left of it.

    XLA's fast path on a CPU ends there: two by two results of a kernel of three take fifty times as
    long as a product of matrices.
    """
    sizes = _result_sizes(maps, kernel, strides, padding)
    return min(sizes) < 1 or all(size >= side for size, side in zip(sizes, kernel.shape))


def _result_sizes(maps, kernel, strides, padding):
    sides = maps.shape[1:3]
    if padding == "same":
        return [-(-side // stride) for side, stride in zip(sides, strides)]
    rests = (side - width for side, width in zip(sides, kernel.shape))
    return [rest // stride + 1 for rest, stride in zip(rests, strides)]


def _product_with_windows(maps, kernel, strides, padding):
    height, width, _, channels = kernel.shape
    sizes = _result_sizes(maps, kernel, strides, padding)
    ends = [(size - 1) * stride + 1 for size, stride in zip(sizes, strides)]
    if padding == "same":
        sides = zip(ends, kernel.shape, maps.shape[1:3])
        zeros = [max(end + window - 1 - side, 0) for end, window, side in sides]
        maps = jax.numpy.pad(maps, [(0, 0), *((n // 2, n - n // 2) for n in zeros), (0, 0)])
    (rows, columns), (down, right) = ends, strides
    windows = [
        maps[:, row : row + rows : down, column : column + columns : right]
        for row in range(height)
        for column in range(width)
    ]
    return jax.numpy.concatenate(windows, -1) @ kernel.reshape(-1, channels)


def either(condition, first, second, variables):
    def outcome(function):
        def run():
            current = [(variable, variable.value) for variable in variables]
            with keras.StatelessScope(state_mapping=current) as scope:
                function()
            return [scope.get_current_value(variable) for variable in variables]

        return run

    values = jax.lax.cond(condition, outcome(first), outcome(second))
    for variable, value in zip(variables, values):
        variable.assign(value)


def on_reduced(transform, gradients):
    # A sharded program sees global gradients.
    return transform(gradients)


class TransformedStep(keras.Model):
    def train_step(self, state, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)

        def gradient(objective, x, y):
            def ask(x):
                return self(x, training=False), ()

            return _gradient_and_outputs(self, objective, ask, state[:2], x, y)[0]

        x, y = self.transform_batch(x, y, gradient)
        return super().train_step(state, (x, y, sample_weight))


def _gradient_and_outputs(model, objective, ask, state, x, y, extra=()):
    variables = [*model.trainable_variables, *model.non_trainable_variables]
    mapping = list(zip(variables, [*state[0], *state[1]]))

    def total(x):
        with keras.StatelessScope(state_mapping=mapping):
            outputs, beside = ask(x, *extra)
        return keras.ops.sum(objective(y, outputs)), (outputs, beside)

    gradient, both = jax.grad(total, has_aux=True)(x)
    return gradient, *both


def _state(model):
    return (
        [variable.value for variable in model.trainable_variables],
        [variable.value for variable in model.non_trainable_variables],
    )


def _in_flat_weights(model, trainable, non_trainable, x):
    """The flat weights, and the model's answer to `x` as a function of them."""
    flat, restore = ravel_pytree(trainable)

    def answer(flat):
        return model.stateless_call(restore(flat), non_trainable, x, training=False)[0]

    return flat, answer


def _bound(model, maps):
    """Products as a chain of linear maps, found once and applied to every vector."""

    @jax.jit
    def applied(chain, vector):
        for linear in chain:
            vector = linear(vector)
        return vector

    def bind(x, y):
        chain = maps(*_state(model), x, y)
        return lambda vector: applied(chain, vector)

    return bind


def _first(function, vector):
    return function(vector)[0]
