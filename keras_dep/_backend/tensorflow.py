"""Derivatives and train steps in TensorFlow."""

import platform
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_dep._backend import generic
from keras_dep._backend import windows
from keras_dep._backend import workers
from keras_dep._backend.generic import average_pool as average_pool
from keras_dep._backend.generic import batch_normalizer as batch_normalizer
from keras_dep._backend.generic import branches_freely as branches_freely
from keras_dep._backend.generic import buffers as buffers
from keras_dep._backend.generic import combination as combination
from keras_dep._backend.generic import double_precision as double_precision
from keras_dep._backend.generic import fires as fires
from keras_dep._backend.generic import half_is_slow as half_is_slow
from keras_dep._backend.generic import leading_eigenvectors as leading_eigenvectors
from keras_dep._backend.generic import marked as marked
from keras_dep._backend.generic import module_role as module_role
from keras_dep._backend.generic import normalize as normalize
from keras_dep._backend.generic import orthogonalize as orthogonalize
from keras_dep._backend.generic import outermost_call as outermost_call
from keras_dep._backend.generic import programs_kept as programs_kept
from keras_dep._backend.generic import subtract_rank_one as subtract_rank_one
from keras_dep._backend.generic import with_derivative as with_derivative
from keras_dep._backend.tensorflow_curvature import (
    differentiable_gradient as differentiable_gradient,
)
from keras_dep._backend.tensorflow_curvature import gauss_newton_product as gauss_newton_product
from keras_dep._backend.tensorflow_curvature import hessian_product as hessian_product
from keras_dep._backend.tensorflow_curvature import loss_gradient as loss_gradient
from keras_dep._backend.tensorflow_workers import ENGINES as ENGINES
from keras_dep._backend.tensorflow_workers import function_of_one_model
from keras_dep._backend.tensorflow_workers import over_devices
from keras_dep._backend.tensorflow_workers import predict_on_batch as predict_on_batch
from keras_dep._internal import keras_internals
from keras_dep._internal.types import Tensor

xla = keras_internals.tensorflow_xla()
# Apple's GPUs have no XLA. Keras tests the same before it compiles a train step.
HAS_XLA = not (platform.system() == "Darwin" and tf.config.list_physical_devices("GPU"))


def gradient_and_outputs(
    model: keras.Model,
    objective: Callable[[Tensor, Any], Tensor],
    ask: Callable[..., tuple[Tensor, Tensor, Any]],
) -> Callable[..., tuple[Tensor, Tensor, Any]]:
    @function_of_one_model
    def both(x: Tensor, y: Tensor, extra: list[Any]) -> tuple[Tensor, Tensor, Any]:
        return _gradient_and_outputs(objective, ask, x, y, extra)

    def call(*arguments: Any) -> tuple[Tensor, Tensor, Any]:
        x, y, *extra = tf.nest.map_structure(_as_tensor, arguments)
        return over_devices(both, model, x, y, extra)

    return call


def stateless_outputs(
    model: keras.Model, values: Sequence[tuple[keras.Variable, Tensor]], x: Tensor
) -> tuple[Any, list[Tensor]]:
    with tf.GradientTape() as tape:
        found = generic.stateless_outputs(model, values, x)
    # The tape sees variables that are read directly, as a function of a SavedModel does.
    past = {id(variable) for variable in tape.watched_variables()}
    for variable, _ in values:
        if id(variable.value) in past:
            raise ValueError(
                f"weight {variable.path!r} must be read through Keras to be differentiated; "
                f"received a layer in {model.name!r} that reads it by itself; freeze that layer."
            )
    return found


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    # Without XLA the overhead of each small operation exceeds its arithmetic.
    return tf.function(function, jit_compile=HAS_XLA)


def convolve(
    inputs: Tensor,
    kernel: Tensor,
    bias: Tensor | None,
    strides: tuple[int, ...],
    padding: str,
    dilation_rate: tuple[int, ...],
    data_format: str,
) -> Tensor:
    if not tf.config.get_visible_devices("GPU"):
        inputs, strides = windows.stepped(inputs, kernel, strides, data_format)
        if windows.preferable(inputs, kernel, strides, padding, dilation_rate, data_format):
            return windows.product(inputs, kernel, bias, strides, padding, data_format)
    options = (strides, padding, dilation_rate, data_format)
    outputs = generic.convolve(inputs, kernel, None, *options)
    if inputs.shape[0] == 0:
        # For an empty batch TensorFlow returns as many channels as the input has.
        axis = 1 if data_format == "channels_first" else 3
        shape = list(outputs.shape)
        shape[axis] = kernel.shape[-1]
        outputs = tf.zeros(shape, outputs.dtype)
    return outputs if bias is None else generic.biased(outputs, bias, data_format)


def product(
    one: Tensor, other: Tensor, transpose_one: bool = False, transpose_other: bool = False
) -> Tensor:
    if not HAS_XLA:
        return tf.matmul(one, other, transpose_a=transpose_one, transpose_b=transpose_other)
    # `@` uses the precision set for the process: ten bits on most GPUs.
    highest = [xla.PrecisionConfig.HIGHEST] * 2
    batch = list(range(other.shape.rank - 2))
    numbers = xla.DotDimensionNumbers(
        lhs_batch_dimensions=batch,
        rhs_batch_dimensions=batch,
        lhs_contracting_dimensions=[one.shape.rank - 1 - transpose_one],
        rhs_contracting_dimensions=[len(batch) + transpose_other],
    )
    return xla.dot_general(one, other, numbers, xla.PrecisionConfig(operand_precision=highest))


# Longest unrolled chain. A loop has an overhead, but is faster from sixteen steps on; XLA compiles
# sixty-four unrolled steps for half a minute.
LONGEST_CHAIN = 8


def over_steps(
    step: Callable[[Any, Tensor], tuple[Any, Tensor]], start: Any, inputs: Tensor
) -> Tensor:
    count = inputs.shape[0]
    if count <= LONGEST_CHAIN:
        return generic.over_steps(step, start, inputs)
    # XLA cannot differentiate `keras.ops.scan`, which gives no maximum number of iterations.
    given = tf.TensorArray(inputs.dtype, count, element_shape=inputs.shape[1:]).unstack(inputs)
    found = tf.TensorArray(inputs.dtype, count, element_shape=inputs.shape[1:])

    def round(number: Tensor, carry: Any, found: Any) -> tuple[Tensor, Any, Any]:
        carry, output = step(carry, given.read(number))
        return number + 1, carry, found.write(number, output)

    found = tf.while_loop(
        lambda number, *_: number < count, round, (0, start, found), maximum_iterations=count
    )[2]
    return found.stack()


def readable(tensor: Tensor) -> bool:
    return not tf.is_symbolic_tensor(tensor)


def conditional_assign(
    condition: Tensor,
    first: Callable[[], None],
    second: Callable[[], None],
    variables: Sequence[keras.Variable],
) -> None:
    # A strategy that synchronises replicas to update a weight cannot do so inside a branch.
    distribute = tf.distribute
    if distribute.has_strategy() and keras_internals.tensorflow_replicas_meet():
        raise ValueError(
            "gradient_accumulation_steps must be None under tf.distribute; received it under "
            f"{type(distribute.get_strategy()).__name__}; take larger batches, or train without a "
            "strategy."
        )
    keras.ops.cond(condition, first, second)


def on_reduced(
    transform: Callable[[list[Tensor | None]], Sequence[Tensor | None]],
    gradients: list[Tensor | None],
) -> Sequence[Tensor | None]:
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return transform(workers.workers().reduced(gradients))
    present = [tf.convert_to_tensor(g) for g in gradients if g is not None]
    reduced = iter(context.all_reduce(tf.distribute.ReduceOp.SUM, present))
    transformed = transform([None if g is None else next(reduced) for g in gradients])
    # The wrapped optimizer sums over the replicas again.
    replicas = context.num_replicas_in_sync
    return [None if g is None else g / tf.cast(replicas, g.dtype) for g in transformed]


def share_of_replica(loss: Tensor) -> Tensor:
    # Keras divides its losses likewise, since optimizers sum gradients over replicas.
    return loss / tf.cast(tf.distribute.get_strategy().num_replicas_in_sync, loss.dtype)


class TransformedStep(generic.TransformedStep):
    def differentiated(self, program, values):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(values)
            total, found = program(values)
        gradients = tape.gradient(total, values)
        return found, [None if g is None else tf.convert_to_tensor(g) for g in gradients]


def _as_tensor(value: Any) -> Tensor:
    return None if value is None else tf.convert_to_tensor(value)


def _gradient_and_outputs(
    objective: Callable[[Tensor, Any], Tensor],
    ask: Callable[..., tuple[Tensor, Tensor, Any]],
    x: Tensor,
    y: Tensor,
    extra: Sequence[Any],
) -> tuple[Tensor, Tensor, Any]:
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(x)
        answers, outputs, memory = ask(x, *extra)
        total = tf.reduce_sum(objective(y, answers))
    # The gradient of a model that rounds its input away is zero.
    return tape.gradient(total, x, unconnected_gradients="zero"), outputs, memory
