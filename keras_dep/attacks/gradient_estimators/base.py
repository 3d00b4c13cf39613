"""What all estimators share, and the two that leave the rule to the layers: theirs, and another
surrogate."""

import dataclasses
from typing import ClassVar

import keras
from keras import ops

from keras_dep import surrogates
from keras_dep._internal import compilation
from keras_dep._internal.export import export
from keras_dep.layers.overrides import estimator_in_place
from keras_dep.layers.overrides import layers_with_estimator
from keras_dep.layers.overrides import surrogate_in_place


@dataclasses.dataclass(frozen=True)
class Estimator:
    """A rule for the derivative of spikes. Spikes and logits are those of the network.

    This one is the network's own: the surrogate of each layer. A subclass overrides `spikes`. One
    gradient is compiled for each `family`; the `numbers` are its arguments.
    """

    # Settings that `numbers` hands to what is compiled; all others are compiled in.
    ARGUMENTS: ClassVar[tuple[str, ...]] = ()

    def get_config(self):
        """The settings, and the class as `rule`, as a dictionary that JSON keeps."""
        rule = keras.saving.get_registered_name(type(self))
        return {"rule": rule, **dataclasses.asdict(self)}

    def family(self):
        """What distinguishes one compiled gradient from another, as a hashable value."""
        settings = {k: v for k, v in vars(self).items() if k not in self.ARGUMENTS}
        return type(self), compilation.value(settings)

    def check(self, model):
        """Raises `ValueError` unless the rule suits a model's layers."""

    def numbers(self):
        """The settings that are arguments of the compiled gradient, a tuple of floats."""
        return ()

    def start(self, model, images):
        """What is remembered ahead of an attack's first gradient: per layer a list of tensors."""
        return []

    def again(self):
        """The numbers for another sample of a gradient, which must leave the memory as it is."""
        return self.numbers()

    def ask(self, model, x, numbers, memory):
        """Answers to derive by the rule, and beside them `(memory, answers of the network)`."""
        outputs = model(x, training=False)
        return outputs, (memory, outputs)


@export
@dataclasses.dataclass(frozen=True)
class Surrogate(Estimator):
    """Another surrogate derivative of the membrane potential, in any layer that has one.

    Args:
        name: one of `keras_dep.surrogates.names()`.
        width: its width in units of the potential; default: the usual one.
    """

    name: str
    width: float | None = None

    ARGUMENTS: ClassVar[tuple[str, ...]] = ("width",)

    def __post_init__(self):
        surrogates.check(self.name, 1.0 if self.width is None else self.width)

    def check(self, model):
        surrogate_in_place(model, self.name, self.width)

    def numbers(self):
        return (surrogates.usual_width(self.name) if self.width is None else float(self.width),)

    def ask(self, model, x, numbers, memory):
        with surrogate_in_place(model, self.name, *numbers):
            return super().ask(model, x, numbers, memory)


class LayerRule(Estimator):
    """Base of the estimators that say for a whole layer how its spikes follow from its currents."""

    def spikes(self, layer, currents, numbers, memory):
        """Spikes of one layer, with the derivative that the rule gives them.

        Args:
            layer: the `keras_dep.LIF` or what derives from it.
            currents: tensor `(T, batch, ...)`.
            numbers: as in `numbers`, scalars of the type of the currents.
            memory: what this layer's last call returned, or `start`.

        Returns:
            `(spikes, memory)`, the latter `None` where nothing is remembered.
        """
        raise NotImplementedError

    def check(self, model):
        layers_with_estimator(model)

    def ask(self, model, x, numbers, memory):
        kept, before = [], iter(memory)

        def spikes(layer, currents):
            typed = [ops.cast(number, currents.dtype) for number in numbers]
            fired, remembered = self.spikes(layer, currents, typed, next(before, None))
            if remembered is not None:
                kept.append(remembered)
            return fired

        with estimator_in_place(model, spikes):
            outputs = model(x, training=False)
        return outputs, (kept, outputs)


def linear(spikes, inputs, slopes):
    """`spikes` whose derivative in finite `inputs` is `slopes`."""
    change = inputs - ops.stop_gradient(inputs)
    return ops.stop_gradient(spikes) + ops.stop_gradient(slopes) * change


def constant_steps(layer, currents):
    """Distances and spikes `(T, batch, ...)` of a layer, as constants."""
    steps = layer.steps(ops.stop_gradient(currents))
    return [ops.stop_gradient(ops.stack(tensors)) for tensors in zip(*steps)]
