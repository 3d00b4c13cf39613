"""Derivatives and train steps in JAX."""

import contextlib
import functools

import jax
import keras
from jax.custom_derivatives import SymbolicZero
from jax.flatten_util import ravel_pytree

from keras_dep._backend import generic
from keras_dep._backend import windows
from keras_dep._backend.generic import average_pool as average_pool
from keras_dep._backend.generic import batch_normalizer as batch_normalizer
from keras_dep._backend.generic import branches_freely as branches_freely
from keras_dep._backend.generic import combination as combination
from keras_dep._backend.generic import fires as fires
from keras_dep._backend.generic import leading_eigenvectors as leading_eigenvectors
from keras_dep._backend.generic import marked as marked
from keras_dep._backend.generic import module_role as module_role
from keras_dep._backend.generic import normalize as normalize
from keras_dep._backend.generic import outermost_call as outermost_call
from keras_dep._backend.generic import share_of_replica as share_of_replica
from keras_dep._backend.generic import stateless_outputs as stateless_outputs
from keras_dep._backend.generic import subtract_rank_one as subtract_rank_one
from keras_dep._backend.generic import with_derivative as with_derivative


def gradient_and_outputs(model, objective, ask):
    return _GradientAndOutputs(model, objective, ask)


class _GradientAndOutputs:
    def __init__(self, model, objective, ask):
        self.model = model

        @jax.jit
        def both(state, x, y, extra):
            return _gradient_and_outputs(model, objective, ask, state, x, y, extra)

        self.both = both

    def __call__(self, x, y, *extra):
        return self.both(_state(self.model), x, y, extra)

    def of_values(self, read, x, y, extra):
        """With `read(variable)` for the value of each."""
        trainable, others = self.model.trainable_variables, self.model.non_trainable_variables
        return self.both(([*map(read, trainable)], [*map(read, others)]), x, y, extra)


def loss_gradient(value):
    @jax.jit
    def gradient(weights, data):
        flat, restore = ravel_pytree(weights)
        return jax.grad(lambda flat: value(restore(flat), *data))(flat)

    return lambda weights, *data: gradient(weights, data)


def differentiable_gradient(model, value, x):
    with generic.unchanged(model):
        return jax.grad(value)(x)


def hessian_product(value):
    @jax.jit
    def maps(weights, data):
        flat, restore = ravel_pytree(weights)
        gradient = jax.grad(lambda flat: value(restore(flat), *data))
        return (jax.linearize(gradient, flat)[1],)

    return _bound(maps)


def gauss_newton_product(answer, value):
    @jax.jit
    def maps(weights, data):
        flat, restore = ravel_pytree(weights)
        outputs, push = jax.linearize(lambda flat: answer(restore(flat), *data), flat)
        bend = jax.linearize(jax.grad(lambda outputs: value(outputs, *data)), outputs)[1]
        pull = jax.vjp(lambda flat: answer(restore(flat), *data), flat)[1]
        return push, bend, jax.tree_util.Partial(_first, pull)

    return _bound(maps)


def compiled(function):
    return functools.wraps(function)(jax.jit(function))


def product(one, other, transpose_one=False, transpose_other=False):
    one = one.mT if transpose_one else one
    other = other.mT if transpose_other else other
    # On a GPU products are rounded to ten bits otherwise.
    return jax.numpy.matmul(one, other, precision="highest")


@contextlib.contextmanager
def double_precision():
    with generic.double_precision(), jax.enable_x64(True):
        yield


def orthogonalize(vector, basis):
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
        return generic.over_steps(step, start, inputs)
    return jax.lax.scan(step, start, inputs)[1]


def convolve(inputs, kernel, bias, strides, padding, dilation_rate, data_format):
    kernel = keras.ops.convert_to_tensor(kernel)
    options = (strides, padding, dilation_rate, data_format)
    if jax.default_backend() != "cpu" or not windows.possible(inputs, kernel, *options):
        return generic.convolve(inputs, kernel, bias, *options)
    if windows.preferable(inputs, kernel, *options):
        # XLA's fast path on a CPU ends there: two by two maps of a kernel of three take fifty times
        # as long as a product.
        return windows.product(inputs, kernel, bias, strides, padding, data_format)
    outputs = _convolution(*options)(inputs, kernel)
    return outputs if bias is None else generic.biased(outputs, bias, data_format)


@functools.cache
def _convolution(strides, padding, dilation_rate, data_format):
    """A convolution whose derivative in the kernel is a product.

    XLA's own takes five times as long on a CPU where maps are large: 32 by 32 of 64 channels.
    """
    options = (strides, padding, dilation_rate, data_format)

    @jax.custom_jvp
    def convolution(inputs, kernel):
        return generic.convolve(inputs, kernel, None, *options)

    # Nine times the maps: laid out again for the derivative, and not kept.
    @jax.checkpoint
    def product(inputs, kernel):
        return windows.product(inputs, kernel, None, strides, padding, data_format)

    def derivative(primals, tangents):
        (inputs, kernel), (moved, turned) = primals, tangents
        parts = []
        if not isinstance(moved, SymbolicZero):
            parts.append(convolution(moved, kernel))
        if not isinstance(turned, SymbolicZero):
            parts.append(product(inputs, turned))
        return convolution(inputs, kernel), sum(parts)

    convolution.defjvp(derivative, symbolic_zeros=True)
    return convolution


def readable(tensor):
    return not isinstance(tensor, jax.core.Tracer)


def conditional_assign(condition, first, second, variables):
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
    compiled_draws_agree = True

    def train_step(self, state, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        variables = [*self.trainable_variables, *self.non_trainable_variables]
        own = {id(v): value for v, value in zip(variables, [*state[0], *state[1]])}

        def gradient(both, x, y, extra, replaced):
            others = {id(v): value for v, value in replaced(lambda v: own[id(v)])}
            values = {**own, **others}
            # Otherwise XLA rounds across the border, and not as it does by itself.
            x, y, extra = jax.lax.optimization_barrier((x, y, extra))
            found = both.of_values(lambda v: values[id(v)], x, y, extra)
            return jax.lax.optimization_barrier(found)

        x, y = self.transform_batch(x, y, gradient)
        training_pass = functools.partial(self._training_pass, state)
        x = self.choose_gradient(x, y, sample_weight, training_pass)
        return super().train_step(state, (x, y, sample_weight))

    def transform_batch(self, x, y, gradient):
        return x, y

    def choose_gradient(self, x, y, sample_weight, training_pass):
        return x

    def _training_pass(self, state, x, y, sample_weight, offsets=None):
        trainable, others, of_optimizer, metrics = state
        differentiated = jax.value_and_grad(self.compute_loss_and_updates, has_aux=True)
        (_, (loss, outputs, others, metrics)), gradients = differentiated(
            generic.moved(trainable, offsets),
            *(others, metrics, x, y, sample_weight),
            training=True,
            optimizer_variables=of_optimizer,
        )
        updates = {str(i): value for i, value in enumerate([*others, *metrics])}
        mapping = list(zip(self.optimizer.variables, of_optimizer))
        with keras.StatelessScope(state_mapping=mapping):
            scale = self.optimizer.scale_loss(keras.ops.ones(()))
        return generic.TrainingPass(generic.unscaled(gradients, scale), loss, outputs, updates)


def _gradient_and_outputs(model, objective, ask, state, x, y, extra):
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


def _bound(maps):
    """Products as a chain of linear maps, found once and applied to every vector."""

    @jax.jit
    def applied(chain, vector):
        for linear in chain:
            vector = linear(vector)
        return vector

    def bind(weights, *data):
        chain = maps(weights, data)
        return lambda vector: applied(chain, vector)

    return bind


def _first(function, vector):
    return function(vector)[0]
