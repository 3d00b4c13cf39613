"""Functions written with `keras.ops`, shared by the backends that need no version of their own."""

import contextlib
import math
import typing
from collections.abc import Callable
from collections.abc import Generator
from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any

import keras

from keras_dep._backend import calls
from keras_dep._backend import workers
from keras_dep._internal import keras_internals
from keras_dep._internal.types import ArrayLike
from keras_dep._internal.types import Tensor

# Its name, the axes of its outputs, and the shape in which to view it.
Role: typing.TypeAlias = tuple[str, tuple[int, ...] | None, tuple[int, ...] | None]


def stateless_outputs(
    model: keras.Model, values: Sequence[tuple[keras.Variable, Tensor]], x: Tensor
) -> tuple[Any, list[Tensor]]:
    with keras.StatelessScope(state_mapping=values, collect_losses=True) as scope:
        outputs = model(x, training=False)
    return outputs, scope.losses


def unchanged(model: keras.Model) -> contextlib.AbstractContextManager[Any]:
    """Within the block a model reads its current variables, and its assignments are discarded."""
    mapping = [(variable, variable.value) for variable in model.variables]
    return keras.StatelessScope(state_mapping=mapping)


def with_derivative(
    program: Callable[..., Tensor],
    forward: Callable[..., tuple[Tensor, tuple[Tensor, ...]]],
    backward: Callable[..., Sequence[Tensor | None]],
) -> Callable[..., Tensor]:
    return program


def marked(values: Tensor, x: Tensor) -> Tensor:
    return keras.ops.where(keras.ops.isfinite(x), values, keras.ops.cast(math.nan, values.dtype))


def fires(potential: Tensor, threshold: Tensor) -> Tensor:
    return marked(keras.ops.cast(potential >= threshold, potential.dtype), potential)


def over_steps(
    step: Callable[[Any, Tensor], tuple[Any, Tensor]], start: Any, inputs: Tensor
) -> Tensor:
    outputs, carry = [], start
    for x in keras.ops.unstack(inputs):
        carry, output = step(carry, x)
        outputs.append(output)
    return keras.ops.stack(outputs)


def convolve(
    inputs: Tensor,
    kernel: Tensor,
    bias: Tensor | None,
    strides: tuple[int, ...],
    padding: str,
    dilation_rate: tuple[int, ...],
    data_format: str,
) -> Tensor:
    options = {"padding": padding, "data_format": data_format, "dilation_rate": dilation_rate}
    outputs = keras.ops.conv(inputs, kernel, strides, **options)
    return outputs if bias is None else biased(outputs, bias, data_format)


def biased(outputs: Tensor, bias: Tensor, data_format: str) -> Tensor:
    shape = (1, -1, 1, 1) if data_format == "channels_first" else (1, 1, 1, -1)
    return outputs + keras.ops.reshape(bias, shape)


def average_pool(
    inputs: Tensor,
    pool_size: tuple[int, ...],
    strides: tuple[int, ...],
    padding: str,
    data_format: str,
) -> Tensor:
    return keras.ops.average_pool(inputs, pool_size, strides, padding, data_format)


def batch_normalizer(
    program: Callable[..., tuple[Tensor, Tensor, Tensor]],
) -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    return program


def normalize(
    inputs: Tensor,
    mean: Tensor,
    variance: Tensor,
    gamma: Tensor | None,
    beta: Tensor | None,
    axis: int,
    epsilon: float,
) -> Tensor:
    # TensorFlow multiplies in the inputs' precision.
    inputs = keras.ops.cast(inputs, mean.dtype)
    return keras.ops.batch_normalization(inputs, mean, variance, axis, beta, gamma, epsilon)


def subtract_rank_one(matrix: Tensor, left: Tensor, right: Tensor) -> Tensor:
    return matrix - left * right


def leading_eigenvectors(
    program: Callable[[Tensor], tuple[Tensor, Tensor]], closeness: float
) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    return program


@contextlib.contextmanager
def double_precision() -> Generator[None, None, None]:
    # By default Keras keeps float64 on TensorFlow alone. It reads this table at each operation.
    narrowed = keras_internals.narrowed_dtypes()
    before = narrowed["float64"]
    narrowed["float64"] = "float64"
    try:
        yield
    finally:
        narrowed["float64"] = before


def orthogonalize(vector: Tensor, basis: Iterable[Tensor]) -> Tensor:
    for unit in basis:
        vector = vector - keras.ops.sum(vector * unit) * unit
    return vector


def combination(weights: Iterable[float], basis: Sequence[Tensor]) -> Tensor:
    return sum(weight * unit for weight, unit in zip(weights, basis))


def share_of_replica(loss: Tensor) -> Tensor:
    return loss


def branches_freely(tensor: Tensor) -> bool:
    return True


def half_is_slow() -> bool:
    return False


def module_role(module: Any, variable: keras.Variable) -> Role:
    return "weight of a torch module, which does not run here", None, None


def outermost_call() -> keras.layers.Layer | None:
    return calls.outermost()


class TrainingPass(typing.NamedTuple):
    """Results of a pass in training mode, which changes no variable.

    Attributes:
        gradients: of the loss in each trainable variable, `None` where it has none.
        loss: the scalar loss.
        outputs: the model's outputs.
        updates: new values of other variables, by their place in `updated(model)`.
        of_image: the gradient of the loss in `x["image"]`, `None` unless it was asked for.
    """

    gradients: list
    loss: typing.Any
    outputs: typing.Any
    updates: dict
    of_image: typing.Any = None


def updated(model: keras.Model) -> list[keras.Variable]:
    """The variables of a model that a training pass may update."""
    return [*model.non_trainable_variables, *model.metrics_variables]


class TransformedStep(keras.Model):
    """A train step that changes its batch first; for frameworks whose variables hold state."""

    def train_step(self, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        x, y = self.transform_batch(x, y, _gradient)
        x = self.update_ahead(x, y, sample_weight, self._updating_pass, _read)
        x = self.choose_gradient(x, y, sample_weight, self._training_pass)
        return super().train_step((x, y, sample_weight))

    def transform_batch(self, x, y, gradient):
        return x, y

    def update_ahead(self, x, y, sample_weight, update, read):
        return x

    def choose_gradient(self, x, y, sample_weight, training_pass):
        return x

    def differentiated(self, program, values):
        """`found`, and the gradients of `total` in the values, of `program(values)`."""
        raise NotImplementedError

    def update_weights(self, gradients):
        """Updates the trainable variables."""
        self.optimizer.apply(gradients, self.trainable_variables)

    def _training_pass(self, x, y, sample_weight, offsets=None, of_image=False):
        found, gradients, slope = self._pass(x, y, sample_weight, offsets, of_image)
        scale = self.optimizer.scale_loss(keras.ops.ones(()))
        gradients, slope = unscaled(gradients, scale), unscaled([slope], scale)[0]
        return TrainingPass(gradients, *found, slope)

    def _updating_pass(self, x, y, sample_weight):
        (_, outputs, updates), gradients, slope = self._pass(x, y, sample_weight, None, True)
        # Metrics are those of the last pass.
        for place, variable in enumerate(self.non_trainable_variables):
            if str(place) in updates:
                variable.assign(updates[str(place)])
        self.update_weights(gradients)
        return outputs, slope

    def _pass(self, x, y, sample_weight, offsets, of_image):
        variables, others = self.trainable_variables, updated(self)
        values = moved([keras.ops.convert_to_tensor(v.value) for v in variables], offsets)
        images = [keras.ops.convert_to_tensor(x["image"])] if of_image else []

        def program(values):
            mapping = list(zip(variables, values))
            shown = {**x, "image": values[-1]} if of_image else x
            with keras.StatelessScope(state_mapping=mapping, collect_losses=True) as scope:
                outputs = self(shown, training=True)
                loss = self.compute_loss(
                    x=shown, y=y, y_pred=outputs, sample_weight=sample_weight, training=True
                )
                total = self.optimizer.scale_loss(loss)
            values = map(scope.get_current_value, others)
            updates = {str(i): value for i, value in enumerate(values) if value is not None}
            return total, (loss, outputs, updates)

        found, gradients = self.differentiated(program, [*values, *images])
        count = len(variables)
        return found, gradients[:count], gradients[count] if of_image else None


def moved(values: Sequence[Tensor], offsets: Sequence[Tensor | None] | None) -> Sequence[Tensor]:
    """Adds to each tensor its offset, unless it is `None`."""
    if offsets is None:
        return values
    return [value if by is None else value + by for value, by in zip(values, offsets)]


def unscaled(gradients: Sequence[Tensor | None], scale: Tensor) -> list[Tensor | None]:
    return [None if g is None else g / keras.ops.cast(scale, g.dtype) for g in gradients]


def _gradient(
    both: Callable[..., Any],
    x: Tensor,
    y: Tensor,
    extra: Sequence[Any],
    replaced: Callable[..., list[tuple[keras.Variable, Tensor]]],
) -> Any:
    others = replaced(_read)
    own = [(variable, _read(variable)) for variable, _ in others]
    _assign(others)
    found = both(x, y, *extra)
    _assign(own)
    return found


def _read(variable: keras.Variable) -> Tensor:
    # A copy keeps its value when the variable is assigned.
    return keras.ops.copy(variable.value)


def _assign(pairs: Iterable[tuple[keras.Variable, Tensor]]) -> None:
    for variable, value in pairs:
        variable.assign(value)


def predict_on_batch(model: keras.Model, images: ArrayLike) -> Any:
    return model.predict_on_batch(workers.workers().divided(images))


@contextlib.contextmanager
def programs_kept() -> Generator[None, None, None]:
    yield


def buffers(model: keras.Model) -> list[Any]:
    return []
