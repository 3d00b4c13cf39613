"""Losses that attacks maximise: one value per sample, from integer labels and logits."""

import inspect
import math
import types
from collections.abc import Callable
from collections.abc import Hashable
from typing import TypeAlias
from typing import cast

import keras
from keras import ops

from keras_dep import losses
from keras_dep._internal import compilation
from keras_dep._internal import validation
from keras_dep._internal.types import Record
from keras_dep._internal.types import Tensor
from keras_dep.losses import mean_logits

HALF = ("float16", "bfloat16")

LossFunction: TypeAlias = Callable[[Tensor, Tensor], Tensor]
# A name in `LOSSES`, or a function of your own.
Loss: TypeAlias = str | LossFunction


def cross_entropy(labels: Tensor, outputs: Tensor) -> Tensor:
    """Cross-entropy of the mean logits."""
    return losses.cross_entropy(labels, mean_logits(outputs))


def first_step(labels: Tensor, outputs: Tensor) -> Tensor:
    """Cross-entropy of the logits of the first time step, the only one that some attacks use."""
    first = outputs[:, 0] if len(outputs.shape) == 3 else outputs
    return losses.cross_entropy(labels, mean_logits(first))


def every_step(labels: Tensor, outputs: Tensor) -> Tensor:
    """Mean over time of the cross-entropy of each step."""
    if len(outputs.shape) == 2:
        return cross_entropy(labels, outputs)
    steps = [losses.cross_entropy(labels, step) for step in ops.unstack(outputs, axis=1)]
    return ops.mean(ops.stack(steps), axis=0)


def margin(labels: Tensor, outputs: Tensor) -> Tensor:
    """Largest wrong mean logit minus that of the label: positive for a misclassified sample."""
    logits = mean_logits(outputs)
    right = ops.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
    wrong = ops.max(ops.where(right > 0, -float("inf"), logits), axis=-1)
    return wrong - ops.sum(right * logits, axis=-1)


def logit_ratio(labels: Tensor, outputs: Tensor) -> Tensor:
    """Difference of logits ratio (DLR) of the mean logits `z` of three classes or more.

    `(max of the wrong z - z_y) / (largest z - third largest z)`: unlike the cross-entropy it does
    not vanish for a confident network.

    Source: Croce and Hein, ICML 2020.
    """
    largest = ops.top_k(mean_logits(outputs), 3)[0]
    return margin(labels, outputs) / (largest[:, 0] - largest[:, 2] + 1e-12)


def targeted_logit_ratio(labels: Tensor, outputs: Tensor) -> Tensor:
    """DLR towards a class, of the mean logits `z` of four classes or more.

    `(z_t - z_y) / (largest z - mean of the third and the fourth largest)` for labels `(n, 2)`, the
    true classes `y` and the target classes `t`.

    Source: Croce and Hein, ICML 2020.
    """
    logits = mean_logits(single(outputs))
    right, wanted = (
        ops.sum(logits * ops.one_hot(labels[:, column], logits.shape[-1], dtype=logits.dtype), -1)
        for column in (0, 1)
    )
    largest = ops.top_k(logits, 4)[0]
    spread = largest[:, 0] - 0.5 * (largest[:, 2] + largest[:, 3])
    return (wanted - right) / (spread + 1e-12)


LOSSES: dict[str, LossFunction] = {
    "ce": cross_entropy,
    "first_step": first_step,
    "tet": every_step,
    "margin": margin,
    "dlr": logit_ratio,
}


def resolved(loss: Loss | Record) -> Loss:
    """A loss as it is, or the one that a record describes; see `config`.

    Args:
        loss: a name in `LOSSES`, a function `(labels, outputs) -> values`, or what `config` gave
            for one.

    Returns:
        The name or the function.

    Raises:
        ValueError: anything else.

    Example:

    >>> resolved("dlr")
    'dlr'
    """
    if isinstance(loss, dict):
        loss = _deserialized(loss)
    if callable(loss) and not isinstance(loss, type):
        return loss
    mend = "give a name, or a function (labels, logits) -> value per sample"
    return validation.one_of("loss", loss, LOSSES, mend)


def config(loss: Loss) -> str | Record:
    """A loss as a value for JSON; `resolved` gives it back.

    Args:
        loss: a name, or a function or object registered by
            `keras.saving.register_keras_serializable`.

    Returns:
        The name, or the dictionary of Keras' serialisation.

    Raises:
        ValueError: a function, or an object of a class, that is not registered.

    Example:

    >>> @keras.saving.register_keras_serializable("examples")
    ... def first_logit(labels, outputs):
    ...     return mean_logits(outputs)[:, 0]
    >>> resolved(config(first_logit)) is first_logit
    True
    """
    if isinstance(loss, str):
        return loss
    kind = loss if isinstance(loss, types.FunctionType) else type(loss)
    if keras.saving.get_registered_object(keras.saving.get_registered_name(kind)) is not kind:
        raise ValueError(
            "loss must be registered, so that a record or a file can name it; received "
            f"{kind.__qualname__}; decorate it with keras.saving.register_keras_serializable()."
        )
    return keras.saving.serialize_keras_object(loss)


def key(loss: Loss) -> Hashable:
    """A value that differs where another loss would be compiled.

    Functions are told apart by identity and by the values that they read from outside, objects by
    identity and attributes. A function is not followed into those that it calls.

    Args:
        loss: a name or a function.

    Returns:
        A hashable value, valid as long as the loss is referred to.

    Example:

    >>> scale = 1.0
    >>> def scaled(labels, outputs):
    ...     return scale * margin(labels, outputs)
    >>> before, scale = key(scaled), 2.0
    >>> key(scaled) == before
    False
    """
    if isinstance(loss, str):
        return LOSSES.get(loss, loss)
    if isinstance(loss, types.MethodType):
        return loss.__func__, key(cast(LossFunction, loss.__self__))
    outside: list[object] = [getattr(loss, "__dict__", {})]
    if isinstance(loss, types.FunctionType):
        seen = inspect.getclosurevars(loss)
        outside += [seen.globals, seen.nonlocals, loss.__defaults__, loss.__kwdefaults__]
    return id(loss), compilation.value(outside)


def aimed(loss: Loss, targeted: bool, labels: Tensor, outputs: Tensor) -> Tensor:
    """The values of a loss, negated for labels that name the class to reach.

    Args:
        loss: a name or a function.
        targeted: whether the labels name the class to reach.
        labels: integers `(batch,)`, a column of them, or one-hot rows.
        outputs: logits `(batch, classes)` or `(batch, time, classes)`. Half precision is cast to
            float32 first: the loss is no part of the network.

    Returns:
        Tensor `(batch,)`.

    Raises:
        ValueError: outputs that are no logits, or a function that gives another shape.

    Example:

    >>> values = aimed("margin", False, ops.array([0]), ops.array([[1.0, 3.0]]))
    >>> ops.convert_to_numpy(values).tolist()
    [2.0]
    """
    losses.check_logits(outputs.shape)
    outputs = single(outputs)
    if len(labels.shape) > 1:
        labels = losses.class_indices(labels, outputs.shape[-1])
    if isinstance(loss, str):
        value = LOSSES[loss](labels, outputs)
    else:
        value = ops.convert_to_tensor(loss(labels, outputs))
        _check_values(value, outputs)
    return -value if targeted else value


def _deserialized(record: Record) -> LossFunction:
    try:
        return keras.saving.deserialize_keras_object(record)
    except (TypeError, ValueError) as error:
        raise ValueError(
            "loss must be a registered function, or an object with from_config; received the "
            f"record of {record.get('registered_name')!r} with {record.get('config')!r}; import "
            "its module first."
        ) from error


def single(outputs: Tensor) -> Tensor:
    """Half-precision outputs cast to float32."""
    return (
        ops.cast(outputs, "float32")
        if keras.backend.standardize_dtype(outputs.dtype) in HALF
        else outputs
    )


def success(targeted: bool, labels: Tensor, outputs: Tensor) -> Tensor:
    """The margin by which an attack has succeeded, per sample: success where it is positive.

    Outputs that are not finite are wrong: they count as success, but not for a targeted attack.

    Args:
        targeted: whether the labels name the class to reach.
        labels: integers `(batch,)`.
        outputs: logits `(batch, classes)` or `(batch, time, classes)`.

    Returns:
        Tensor `(batch,)`.
    """
    value = aimed("margin", targeted, labels, outputs)
    finite = losses.predicted_classes(outputs) >= 0
    return ops.where(finite, value, -math.inf if targeted else math.inf)


def _check_values(value: Tensor, outputs: Tensor) -> None:
    shape, batch = tuple(value.shape), outputs.shape[0]
    if len(shape) != 1 or None not in (shape[0], batch) and shape[0] != batch:
        raise ValueError(
            f"loss must give one value per sample, shape ({batch},); received shape={shape}; "
            "reduce classes and time, not the batch."
        )
