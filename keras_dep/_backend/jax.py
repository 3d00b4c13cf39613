"""Derivatives and train steps in JAX."""

import contextlib
import functools
import tempfile
from collections.abc import Callable
from collections.abc import Generator
from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any

import jax
import keras
from jax.experimental.compilation_cache import compilation_cache

from keras_dep._backend import generic
from keras_dep._backend.generic import average_pool as average_pool
from keras_dep._backend.generic import batch_normalizer as batch_normalizer
from keras_dep._backend.generic import branches_freely as branches_freely
from keras_dep._backend.generic import buffers as buffers
from keras_dep._backend.generic import combination as combination
from keras_dep._backend.generic import fires as fires
from keras_dep._backend.generic import half_is_slow as half_is_slow
from keras_dep._backend.generic import leading_eigenvectors as leading_eigenvectors
from keras_dep._backend.generic import marked as marked
from keras_dep._backend.generic import module_role as module_role
from keras_dep._backend.generic import normalize as normalize
from keras_dep._backend.generic import outermost_call as outermost_call
from keras_dep._backend.generic import predict_on_batch as predict_on_batch
from keras_dep._backend.generic import share_of_replica as share_of_replica
from keras_dep._backend.generic import stateless_outputs as stateless_outputs
from keras_dep._backend.generic import subtract_rank_one as subtract_rank_one
from keras_dep._backend.generic import with_derivative as with_derivative
from keras_dep._backend.jax_curvature import differentiable_gradient as differentiable_gradient
from keras_dep._backend.jax_curvature import gauss_newton_product as gauss_newton_product
from keras_dep._backend.jax_curvature import hessian_product as hessian_product
from keras_dep._backend.jax_curvature import loss_gradient as loss_gradient
from keras_dep._backend.jax_maps import convolve as convolve
from keras_dep._backend.jax_workers import ENGINES as ENGINES
from keras_dep._internal.types import Tensor


def gradient_and_outputs(
    model: keras.Model,
    objective: Callable[[Tensor, Any], Tensor],
    ask: Callable[..., tuple[Tensor, Tensor, Any]],
) -> Callable[..., tuple[Tensor, Tensor, Any]]:
    return _GradientAndOutputs(model, objective, ask)


class _GradientAndOutputs:
    def __init__(
        self,
        model: keras.Model,
        objective: Callable[[Tensor, Any], Tensor],
        ask: Callable[..., tuple[Tensor, Tensor, Any]],
    ) -> None:
        self.model = model

        @jax.jit
        def both(state: Any, x: Tensor, y: Tensor, extra: Any) -> tuple[Tensor, Tensor, Any]:
            return _gradient_and_outputs(model, objective, ask, state, x, y, extra)

        self.both = both

    def __call__(self, x: Tensor, y: Tensor, *extra: Any) -> tuple[Tensor, Tensor, Any]:
        return self.both(_state(self.model), x, y, extra)

    def of_values(
        self, read: Callable[[keras.Variable], Tensor], x: Tensor, y: Tensor, extra: Any
    ) -> tuple[Tensor, Tensor, Any]:
        """Calls the function with the value `read(variable)` of each variable."""
        trainable, others = self.model.trainable_variables, self.model.non_trainable_variables
        return self.both(([*map(read, trainable)], [*map(read, others)]), x, y, extra)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return functools.wraps(function)(jax.jit(function))


@contextlib.contextmanager
def programs_kept() -> Generator[None, None, None]:
    # A user's own folder stays in use.
    if getattr(jax.config, _CACHE[0]) is not None:
        yield
        return
    # Of this process alone: a program of one machine may not suit another's processor.
    with tempfile.TemporaryDirectory() as folder:
        before = [getattr(jax.config, name) for name in _CACHE]
        _configure_cache([folder, 0, -1])
        try:
            yield
        finally:
            _configure_cache(before)


# Folder, and the least seconds of compilation and bytes of a program that is kept.
_CACHE = (
    "jax_compilation_cache_dir",
    "jax_persistent_cache_min_compile_time_secs",
    "jax_persistent_cache_min_entry_size_bytes",
)


def _configure_cache(values: Sequence[Any]) -> None:
    for name, value in zip(_CACHE, values):
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def product(
    one: Tensor, other: Tensor, transpose_one: bool = False, transpose_other: bool = False
) -> Tensor:
    one = one.mT if transpose_one else one
    other = other.mT if transpose_other else other
    # By default a GPU rounds the factors to ten bits.
    return jax.numpy.matmul(one, other, precision="highest")


@contextlib.contextmanager
def double_precision() -> Generator[None, None, None]:
    with generic.double_precision(), jax.enable_x64(True):
        yield


def orthogonalize(vector: Tensor, basis: Iterable[Tensor]) -> Tensor:
    # One at a time: each length of a stack would be compiled separately.
    for unit in basis:
        vector = _less(vector, unit)
    return vector


@jax.jit
def _less(vector: Tensor, unit: Tensor) -> Tensor:
    return vector - jax.numpy.sum(vector * unit) * unit


# Longest unrolled chain. On a CPU XLA recomputes a step of a longer chain at each use: eight steps
# and their derivative take twenty times as long unrolled. On a GPU a loop costs more than that.
LONGEST_CHAIN = 4
LONGEST_CHAIN_ON_GPU = 16
# Outside a compiled program each call would compile the loop again.
LONGEST_EAGER_CHAIN = 64


def over_steps(
    step: Callable[[Any, Tensor], tuple[Any, Tensor]], start: Any, inputs: Tensor
) -> Tensor:
    longest = LONGEST_CHAIN_ON_GPU if jax.default_backend() == "gpu" else LONGEST_CHAIN
    traced = isinstance(inputs, jax.core.Tracer)
    if len(inputs) <= (longest if traced else LONGEST_EAGER_CHAIN):
        return generic.over_steps(step, start, inputs)
    return jax.lax.scan(step, start, inputs)[1]


def readable(tensor: Tensor) -> bool:
    return not isinstance(tensor, jax.core.Tracer)


def conditional_assign(
    condition: Tensor,
    first: Callable[[], None],
    second: Callable[[], None],
    variables: Sequence[keras.Variable],
) -> None:
    def outcome(function: Callable[[], None]) -> Callable[[], list[Tensor]]:
        def run() -> list[Tensor]:
            current = [(variable, variable.value) for variable in variables]
            with keras.StatelessScope(state_mapping=current) as scope:
                function()
            return [scope.get_current_value(variable) for variable in variables]

        return run

    values = jax.lax.cond(condition, outcome(first), outcome(second))
    for variable, value in zip(variables, values):
        variable.assign(value)


def on_reduced(
    transform: Callable[[list[Tensor | None]], Sequence[Tensor | None]],
    gradients: list[Tensor | None],
) -> Sequence[Tensor | None]:
    # In a sharded program gradients are global already.
    return transform(gradients)


class TransformedStep(keras.Model):
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

        def update(x, y, sample_weight):
            nonlocal state
            outputs, slope, state = self._updating_pass(state, x, y, sample_weight)
            return outputs, slope

        x, y = self.transform_batch(x, y, gradient)
        x = self.update_ahead(x, y, sample_weight, update, lambda v: own[id(v)])
        training_pass = functools.partial(self._training_pass, state)
        x = self.choose_gradient(x, y, sample_weight, training_pass)
        return super().train_step(state, (x, y, sample_weight))

    def transform_batch(self, x, y, gradient):
        return x, y

    def update_ahead(self, x, y, sample_weight, update, read):
        return x

    def choose_gradient(self, x, y, sample_weight, training_pass):
        return x

    def _training_pass(self, state, x, y, sample_weight, offsets=None, of_image=False):
        found, gradients, slope = self._pass(state, x, y, sample_weight, offsets, of_image)
        loss, outputs, others, metrics = found
        updates = {str(i): value for i, value in enumerate([*others, *metrics])}
        mapping = list(zip(self.optimizer.variables, state[2]))
        with keras.StatelessScope(state_mapping=mapping):
            scale = self.optimizer.scale_loss(keras.ops.ones(()))
        gradients, slope = generic.unscaled(gradients, scale), generic.unscaled([slope], scale)[0]
        return generic.TrainingPass(gradients, loss, outputs, updates, slope)

    def _updating_pass(self, state, x, y, sample_weight):
        """Outputs and gradient in the image of a pass, and the state that it leaves."""
        trainable, _, of_optimizer, metrics = state
        found, gradients, slope = self._pass(state, x, y, sample_weight, None, True)
        applied = self.optimizer.stateless_apply(of_optimizer, gradients, trainable)
        # Metrics are those of the last pass.
        return found[1], slope, (applied[0], found[2], applied[1], metrics)

    def _pass(self, state, x, y, sample_weight, offsets, of_image):
        trainable, others, of_optimizer, metrics = state

        def total(trainable, image):
            shown = x if image is None else {**x, "image": image}
            return self.compute_loss_and_updates(
                *(trainable, others, metrics, shown, y, sample_weight),
                training=True,
                optimizer_variables=of_optimizer,
            )

        differentiated = jax.value_and_grad(total, (0, 1) if of_image else (0,), has_aux=True)
        image = x["image"] if of_image else None
        (_, found), gradients = differentiated(generic.moved(trainable, offsets), image)
        return found, gradients[0], gradients[1] if of_image else None


def _gradient_and_outputs(
    model: keras.Model,
    objective: Callable[[Tensor, Any], Tensor],
    ask: Callable[..., tuple[Tensor, Tensor, Any]],
    state: tuple[list[Tensor], list[Tensor]],
    x: Tensor,
    y: Tensor,
    extra: Sequence[Any],
) -> tuple[Tensor, Tensor, Any]:
    variables = [*model.trainable_variables, *model.non_trainable_variables]
    mapping = list(zip(variables, [*state[0], *state[1]]))

    def total(x: Tensor) -> tuple[Tensor, tuple[Tensor, Any]]:
        with keras.StatelessScope(state_mapping=mapping):
            answers, outputs, memory = ask(x, *extra)
        return keras.ops.sum(objective(y, answers)), (outputs, memory)

    gradient, found = jax.grad(total, has_aux=True)(x)
    return gradient, *found


def _state(model: keras.Model) -> tuple[list[Tensor], list[Tensor]]:
    return (
        [variable.value for variable in model.trainable_variables],
        [variable.value for variable in model.non_trainable_variables],
    )
