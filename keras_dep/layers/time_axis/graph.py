"""Checks, on a graph of layers, that time is folded into the batch exactly once.

A tensor does not show whether its first axis counts samples or steps of samples. Without the check
a layer would silently take one for the other.
"""

import weakref
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import TypeAlias

import keras

from keras_dep import _backend
from keras_dep._internal import keras_internals
from keras_dep._internal.types import Tensor
from keras_dep.layers.time_axis import layout
from keras_dep.layers.time_axis.carry import Carry

# Steps per sample in the batch axis, and the layer that put them there.
Steps: TypeAlias = tuple[int, Any]


class Timed:
    """Mixin of layers with time folded into the batch.

    At each call the layer checks the number of steps in its inputs, if the graph shows it. The
    default is a layer that maps `T` steps to `T` steps.

    Attributes:
        timesteps: number of steps `T`.
        folds: whether it maps one step to `T`.
        unfolds: whether it maps `T` steps to one.
        declares: whether it declares that a model's inputs hold `T` steps.
        emits_spikes: whether its outputs are spikes.
        weights_per_step: whether a weight belongs to one step, so that `T` is fixed.
        carry: `None`, or the `keras_dep.layers.time_axis.Carry` of a call on a part of the steps.
    """

    timesteps: int
    carry: Carry | None = None
    folds = unfolds = declares = emits_spikes = weights_per_step = False

    @property
    def draws(self) -> bool:
        """Whether its outputs are random in inference."""
        return False

    def __call__(self, inputs: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Checks the steps of the inputs, then calls the layer."""
        if keras_internals.is_symbolic(inputs):
            _check(self, steps_in(inputs))
        else:
            _check_outermost(self)
        if not self.folds and getattr(inputs, "shape", None):
            layout.check_batch(inputs.shape[0], self.timesteps)
        return super().__call__(inputs, *args, **kwargs)  # type: ignore[misc]  # A mixin of Layer.


def steps_in(
    tensor: Tensor, given: Mapping[int, Steps | None] | None = None, check: bool = False
) -> Steps | None:
    """The number of steps per sample in the batch axis of a Keras tensor.

    Args:
        tensor: a symbolic tensor.
        given: known results, by `id` of a tensor.
        check: whether to check every layer on the way; otherwise the nearest `Timed` layer decides.

    Returns:
        `(steps, layer)` with the layer that put them there, or `None` if the graph does not show
        it.

    Raises:
        ValueError: with `check`, a layer that gets another number of steps than it needs.
    """
    known = dict(given or {})
    stack = [tensor]
    while stack:
        here = stack[-1]
        if id(here) in known:
            stack.pop()
            continue
        layer, inputs, output = keras_internals.origin(here) or (None, [], 0)
        timed = isinstance(layer, Timed) and not check
        sources: list[Tensor] = [] if timed or not _keeps_rows(layer) else inputs
        missing = [source for source in sources if id(source) not in known]
        if missing:
            stack += missing
            continue
        found = [known[id(source)] for source in sources]
        known[id(here)] = _behind(layer, output, found, check)
        stack.pop()
    return known[id(tensor)]


def _behind(layer: Any, output: int, sources: Sequence[Steps | None], check: bool) -> Steps | None:
    """`steps_in` of one output of a layer, given that of its inputs."""
    if isinstance(layer, Timed):
        if check:
            _check(layer, sources[0])
        return (1 if layer.unfolds else layer.timesteps), layer
    if not sources or not _keeps_rows(layer):
        return None
    if isinstance(layer, keras.Model):
        given = {id(inner): found for inner, found in zip(layer.inputs, sources)}
        return steps_in(layer.outputs[output], given, check)
    found = {source[0]: source for source in sources if source is not None}
    return next(iter(found.values())) if len(found) == 1 else None


# Layers that call a user's function or a module of a framework.
FOREIGN = tuple(
    getattr(keras.layers, name)
    for name in ("Lambda", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "TFSMLayer")
    if hasattr(keras.layers, name)
)


def _keeps_rows(layer: Any) -> bool:
    """Whether each output along the first axis is known to depend on the same input alone."""
    if not isinstance(layer, keras.layers.Layer) or isinstance(layer, FOREIGN):
        return False
    if isinstance(layer, Timed):
        return True
    if isinstance(layer, keras.Model):
        return _is_graph(layer)
    return type(layer).call.__module__.partition(".")[0] in ("keras", "keras_dep")


def _is_graph(layer: Any) -> bool:
    own = isinstance(layer, keras.Model) and type(layer).call.__module__.startswith("keras.")
    return own and bool(getattr(layer, "inputs", None))


def _check(layer: Any, found: Steps | None) -> None:
    if found is None:
        return
    steps, source = found
    wanted = 1 if layer.folds else layer.timesteps
    declared = layer.declares and isinstance(source, keras.layers.InputLayer)
    if steps == wanted or declared:
        return
    name = f"{type(layer).__name__} {layer.name!r}"
    behind = f"behind {type(source).__name__} {source.name!r}"
    if layer.folds:
        raise ValueError(
            f"{name} must get time unfolded, one row per sample; received {steps} steps in the "
            f"batch {behind}; fold time once."
        )
    if steps == 1:
        raise ValueError(
            f"{name} must get timesteps={wanted} steps folded into the batch; received one row per "
            f"sample {behind}; put keras_dep.DirectEncoding({wanted}) or another encoder "
            f"in between, or keras_dep.layers.Folded({wanted}) if the batch holds the steps."
        )
    raise ValueError(
        f"{name} must count as many steps as its inputs hold; received timesteps={wanted} for "
        f"{steps} steps {behind}; give both one number."
    )


_checked: weakref.WeakKeyDictionary[keras.Model, list[int]] = weakref.WeakKeyDictionary()


def _check_outermost(layer: Any) -> None:
    """Checks the whole graph of the outermost model called, once.

    Only its inputs are known to be one per sample: those of a model inside may hold steps.
    """
    model = _backend.outermost_call()
    if model is None or model is layer or not _is_graph(model):
        return
    graph = [id(tensor) for tensor in model.outputs]
    if _checked.get(model) != graph:
        origins = map(keras_internals.origin, model.inputs)
        given = {
            id(tensor): (1, origin and origin.operation)
            for tensor, origin in zip(model.inputs, origins)
        }
        for tensor in model.outputs:
            steps_in(tensor, given, check=True)
        _checked[model] = graph
