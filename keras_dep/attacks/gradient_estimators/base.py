"""The base classes of estimators, and the estimator of another surrogate."""

import dataclasses
from collections.abc import Hashable
from collections.abc import Sequence
from typing import Any
from typing import ClassVar
from typing import TypeAlias

import keras
from keras import ops

from keras_dep import surrogates
from keras_dep._internal import compilation
from keras_dep._internal.export import export
from keras_dep._internal.types import Record
from keras_dep._internal.types import Tensor
from keras_dep.layers.lif import LIF
from keras_dep.layers.overrides import estimator_in_place
from keras_dep.layers.overrides import layers_with_estimator
from keras_dep.layers.overrides import surrogate_in_place

# Per layer, tensors `(T, batch, ...)` that a rule carries from one gradient to the next.
Memory: TypeAlias = list[Any]


@dataclasses.dataclass(frozen=True)
class Estimator:
    """A rule for the derivative of spikes. Spikes and logits stay those of the network.

    This one uses the surrogate of each layer. One gradient is compiled for each `family`, with the
    `numbers` as arguments.

    Example:

    >>> Estimator().numbers()
    ()
    """

    # Settings passed to the compiled gradient by `numbers`; all others are compiled in.
    ARGUMENTS: ClassVar[tuple[str, ...]] = ()

    def get_config(self) -> Record:
        """The settings, and the class as `rule`, as a dictionary for JSON."""
        rule = keras.saving.get_registered_name(type(self))
        return {"rule": rule, **dataclasses.asdict(self)}

    def family(self) -> Hashable:
        """A value that differs where another gradient must be compiled."""
        settings = {k: v for k, v in vars(self).items() if k not in self.ARGUMENTS}
        return type(self), compilation.value(settings)

    def check(self, model: keras.Model) -> None:
        """Raises `ValueError` unless the rule suits the layers of a model."""

    def numbers(self) -> tuple[float, ...]:
        """The settings that are arguments of the compiled gradient, a tuple of floats."""
        return ()

    def start(self, model: keras.Model, images: Tensor) -> Memory:
        """The memory before the first gradient of an attack: `(T, batch, ...)`, lists per layer."""
        return []

    def again(self) -> tuple[float, ...]:
        """The numbers for a further sample of one gradient, which must not change the memory."""
        return self.numbers()

    def ask(
        self, model: keras.Model, x: Tensor, numbers: Sequence[Tensor], memory: Memory
    ) -> tuple[Tensor, tuple[Memory, Tensor]]:
        """Outputs to differentiate by the rule, with `(memory, outputs of the network)`."""
        outputs = model(x, training=False)
        return outputs, (memory, outputs)


@export
@dataclasses.dataclass(frozen=True)
class Surrogate(Estimator):
    """Another surrogate derivative of the membrane potential, in all layers with a surrogate.

    Args:
        name: one of `keras_dep.surrogates.names()`.
        width: its width in units of the potential; default: the usual one.

    Raises:
        ValueError: an unknown name, or a width that is not positive.

    Example:

    >>> Surrogate("triangle", width=0.5).numbers()
    (0.5,)
    """

    name: str
    width: float | None = None

    ARGUMENTS: ClassVar[tuple[str, ...]] = ("width",)

    def __post_init__(self) -> None:
        surrogates.check(self.name, 1.0 if self.width is None else self.width)

    def check(self, model: keras.Model) -> None:
        surrogate_in_place(model, self.name, self.width)

    def numbers(self) -> tuple[float, ...]:
        return (surrogates.usual_width(self.name) if self.width is None else float(self.width),)

    def ask(
        self, model: keras.Model, x: Tensor, numbers: Sequence[Tensor], memory: Memory
    ) -> tuple[Tensor, tuple[Memory, Tensor]]:
        with surrogate_in_place(model, self.name, *numbers):
            return super().ask(model, x, numbers, memory)


class LayerRule(Estimator):
    """Base of the estimators that compute the spikes of a whole layer from its currents."""

    def spikes(
        self, layer: LIF, currents: Tensor, numbers: Sequence[Tensor], memory: Memory | None
    ) -> tuple[Tensor, Memory | None]:
        """Spikes of one layer, with the derivative that the rule gives them.

        Args:
            layer: a `keras_dep.LIF` or a layer derived from it.
            currents: tensor `(T, batch, ...)`.
            numbers: those of `numbers`, as scalars of the type of the currents.
            memory: the memory that the last call for this layer returned, at first that of `start`.

        Returns:
            `(spikes, memory)`; the memory is `None` for a rule without one.
        """
        raise NotImplementedError

    def check(self, model: keras.Model) -> None:
        layers_with_estimator(model)

    def ask(
        self, model: keras.Model, x: Tensor, numbers: Sequence[Tensor], memory: Memory
    ) -> tuple[Tensor, tuple[Memory, Tensor]]:
        kept, before = [], iter(memory)

        def spikes(layer: LIF, currents: Tensor) -> Tensor:
            typed = [ops.cast(number, currents.dtype) for number in numbers]
            fired, remembered = self.spikes(layer, currents, typed, next(before, None))
            if remembered is not None:
                kept.append(remembered)
            return fired

        with estimator_in_place(model, spikes):
            outputs = model(x, training=False)
        return outputs, (kept, outputs)


def linear(spikes: Tensor, inputs: Tensor, slopes: Tensor) -> Tensor:
    """`spikes`, with `slopes` as their derivative in finite `inputs`."""
    change = inputs - ops.stop_gradient(inputs)
    return ops.stop_gradient(spikes) + ops.stop_gradient(slopes) * change


def constant_steps(layer: LIF, currents: Tensor) -> list[Tensor]:
    """Distances to the threshold and spikes `(T, batch, ...)` of a layer, without derivative."""
    steps = layer.steps(ops.stop_gradient(currents))
    return [ops.stop_gradient(ops.stack(tensors)) for tensors in zip(*steps)]
