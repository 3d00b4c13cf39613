"""Derivatives and train steps in TensorFlow."""

import contextlib
import platform
import re
from collections.abc import Callable
from collections.abc import Generator
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_dep._backend import generic
from keras_dep._backend import windows
from keras_dep._backend.generic import average_pool as average_pool
from keras_dep._backend.generic import batch_normalizer as batch_normalizer
from keras_dep._backend.generic import branches_freely as branches_freely
from keras_dep._backend.generic import combination as combination
from keras_dep._backend.generic import double_precision as double_precision
from keras_dep._backend.generic import fires as fires
from keras_dep._backend.generic import leading_eigenvectors as leading_eigenvectors
from keras_dep._backend.generic import marked as marked
from keras_dep._backend.generic import module_role as module_role
from keras_dep._backend.generic import normalize as normalize
from keras_dep._backend.generic import orthogonalize as orthogonalize
from keras_dep._backend.generic import outermost_call as outermost_call
from keras_dep._backend.generic import subtract_rank_one as subtract_rank_one
from keras_dep._backend.generic import with_derivative as with_derivative
from keras_dep._backend.workers import ENGINES as ENGINES
from keras_dep._internal import keras_internals
from keras_dep._internal.types import Tensor

xla = keras_internals.tensorflow_xla()
# Apple's GPUs have no XLA. Keras tests the same before it compiles a train step.
HAS_XLA = not (platform.system() == "Darwin" and tf.config.list_physical_devices("GPU"))


def gradient_and_outputs(
    model: keras.Model,
    objective: Callable[[Tensor, Any], Tensor],
    ask: Callable[..., tuple[Any, Any]],
) -> Callable[..., tuple[Tensor, Any, Any]]:
    @_function_of_one_model
    def both(x: Tensor, y: Tensor, extra: list[Any]) -> tuple[Tensor, Any, Any]:
        return _gradient_and_outputs(objective, ask, x, y, extra)

    def call(*arguments: Any) -> tuple[Tensor, Any, Any]:
        x, y, *extra = tf.nest.map_structure(_as_tensor, arguments)
        return both(x, y, extra)

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


def loss_gradient(value: Callable[..., Tensor]) -> Callable[..., Tensor]:
    @_function_of_one_model
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
    @_function_of_one_model
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
    @_function_of_one_model
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
        return transform(gradients)
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


def _function_of_one_model(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps in `tf.function`, without the retracing warning, which counts other models' traces."""
    compiled = tf.function(function, reduce_retracing=True)
    keras_internals.omit_retracing_warning(compiled)
    return compiled


def _as_tensor(value: Any) -> Tensor:
    return None if value is None else tf.convert_to_tensor(value)


def _gradient_and_outputs(
    objective: Callable[[Tensor, Any], Tensor],
    ask: Callable[..., tuple[Any, Any]],
    x: Tensor,
    y: Tensor,
    extra: Sequence[Any],
) -> tuple[Tensor, Any, Any]:
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(x)
        outputs, beside = ask(x, *extra)
        total = tf.reduce_sum(objective(y, outputs))
    # The gradient of a model that rounds its input away is zero.
    return tape.gradient(total, x, unconnected_gradients="zero"), outputs, beside


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
