"""Neurons of other libraries as spiking layers of this package."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from typing import Any
from typing import ClassVar

from keras import ops

from keras_dep import _backend
from keras_dep import surrogates
from keras_dep._internal.types import Array
from keras_dep._internal.types import Record
from keras_dep._internal.types import Tensor
from keras_dep.layers import time_axis
from keras_dep.layers.base import SpikingLayer

# Smallest normal number of float32.
TINY = 1.1754944e-38
Fire = Callable[[Tensor], Tensor]


class Dynamics:
    """How a neuron of another library charges, fires and resets: the base of one class per kind.

    Args:
        module: the neuron, a torch module. It belongs to the copy of the network.

    Attributes:
        states: number of state tensors, the membrane potential last.
        fires_at_threshold: whether a potential equal to the threshold fires.
    """

    states = 1
    fires_at_threshold = True

    def __init__(self, module: Any) -> None:
        self.module = module

    @property
    def label(self) -> str:
        """The neuron's type and library, for messages and records."""
        kind = type(self.module)
        return f"{kind.__name__} of {kind.__module__.partition('.')[0]}"

    def known_surrogate(self) -> tuple[str, float] | None:
        """Name and width of the surrogate here that equals the neuron's own, or `None`."""
        return None

    def fire(self, distances: Tensor) -> Tensor:
        """Spikes of distances to the threshold by the neuron's own function."""
        raise NotImplementedError

    def constants(self) -> tuple[Any, Any]:
        """The share of the membrane kept per step and the threshold, numbers or tensors."""
        raise NotImplementedError

    def gain(self) -> Any:
        """The charge of the membrane per unit of the input: a number or a tensor."""
        return 1.0

    def start(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """The state before the first step, for inputs `(batch, ...)`."""
        raise NotImplementedError

    def step(
        self, state: tuple[Tensor, ...], inputs: Tensor, fire: Fire
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """One step: the state after it, and its spikes.

        Args:
            state: the state before the step.
            inputs: inputs of the neuron `(batch, ...)`.
            fire: the function from distances to spikes; it is called once.
        """
        raise NotImplementedError

    def with_strict_threshold(self, distances: Tensor) -> Tensor:
        """Distances that are not negative exactly where the neuron fires."""
        if self.fires_at_threshold:
            return distances
        return distances - TINY * ops.cast(distances == 0, distances.dtype)


class TorchNeurons(SpikingLayer):
    """A layer of neurons of another library, computed by the library's own code.

    `keras_dep.interop.from_torch` makes one for each neuron module. Like `keras_dep.LIF` it takes
    every surrogate and every gradient estimator. An estimator sees the charge of the membrane per
    step, which is the input times the neuron's gain, such as `1/tau`.

    Args:
        dynamics: the neuron.
        name: name of the layer.

    Attributes:
        CONSTANTS: as in `SpikingLayer`.
    """

    CONSTANTS: ClassVar[tuple[str, ...]] = ("kind", "decay", "threshold", "surrogate", "width")
    takes_estimator = True

    def __init__(self, dynamics: Dynamics, name: str) -> None:
        known = dynamics.known_surrogate()
        surrogate, width = known or ("triangle", 1.0)
        self.kind = dynamics.label
        super().__init__(1, 1.0, surrogate, width, name=name, dtype="float32")
        self._dynamics = dynamics
        self._own = None if known else f"the own of {self.kind}"
        if self._own:
            self.surrogate = self._own
        decay, threshold = (_mean(each) for each in dynamics.constants())
        self.decay, self.threshold = decay, threshold
        self.built = True

    @property
    def channel_axis(self) -> int:
        """Axis of the channels in a feature map, the first one in torch."""
        return 1

    def call(self, inputs: Tensor) -> Tensor:
        currents = time_axis.unfold(inputs, self.timesteps)
        if self.estimator is not None:
            return time_axis.fold(self.estimator(self, currents * self._dynamics.gain()))
        return time_axis.fold(self._over_steps(currents, lambda state, distance, fired: fired))

    def distances(self, inputs: Tensor) -> Tensor:
        """As in `SpikingLayer`."""
        currents = time_axis.unfold(inputs, self.timesteps)
        return time_axis.fold(self._over_steps(currents, lambda state, distance, fired: distance))

    def states(self, inputs: Tensor, which: int) -> Tensor:
        """A state after the reset of each step.

        Args:
            inputs: inputs `(timesteps * batch, ...)`, time-major.
            which: index of the state; -1 is the membrane potential.

        Returns:
            Tensor like `inputs`.
        """
        currents = time_axis.unfold(inputs, self.timesteps)
        return time_axis.fold(
            self._over_steps(currents, lambda state, distance, fired: state[which] + 0 * distance)
        )

    def steps(
        self,
        currents: Tensor,
        fire: Fire | None = None,
        constants: tuple[Any, Any] | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Distances to the threshold and spikes, step by step.

        Args:
            currents: charges `(T, batch, ...)` of the membrane, as estimators see them.
            fire: the function from distances to spikes; default: with the layer's surrogate.
            constants: not used: the neuron has its own.

        Yields:
            Potential minus threshold, and spikes, each `(batch, ...)`.
        """
        inputs = currents / self._dynamics.gain()
        state = self._dynamics.start(inputs[0])
        for each in ops.unstack(inputs):
            state, distance, fired = self._step(state, each, fire or self.fire)
            yield distance, fired

    def fire(self, distances: Tensor) -> Tensor:
        """As in `SpikingLayer`; by the neuron's own function unless a surrogate is set."""
        if self._own and self.surrogate == self._own:
            return self._dynamics.fire(distances)
        return surrogates.spike(distances, self.surrogate, self.width)

    def decay_and_threshold(self, dtype: str) -> tuple[Any, Any]:
        """The share that the membrane keeps and the threshold, measured from the reset value."""
        return self._dynamics.constants()

    def learnt_constants(self) -> dict[str, Array]:
        """The present decay and threshold."""
        decay, threshold = self._dynamics.constants()
        return {"decay": _values(decay), "threshold": _values(threshold)}

    def _over_steps(self, currents: Tensor, chosen: Callable[..., Tensor]) -> Tensor:
        def step(state: tuple, inputs: Tensor) -> tuple[tuple, Tensor]:
            state, distance, fired = self._step(state, inputs, self.fire)
            return state, chosen(state, distance, fired)

        return _backend.over_steps(step, self._dynamics.start(currents[0]), currents)

    def _step(
        self, state: tuple[Tensor, ...], inputs: Tensor, fire: Fire
    ) -> tuple[tuple[Tensor, ...], Tensor, Tensor]:
        seen: list[Tensor] = []

        def noting(distance: Tensor) -> Tensor:
            distance = self._dynamics.with_strict_threshold(distance)
            seen.append(distance)
            return fire(distance)

        state, fired = self._dynamics.step(state, inputs, noting)
        return state, seen[0], fired

    def get_config(self) -> Record:
        raise ValueError(
            f"a model made by from_torch cannot be written to a file; received layer {self.name!r};"
            " save the state_dict of the torch module."
        )


def _values(constant: Any) -> Array:
    return ops.convert_to_numpy(ops.convert_to_tensor(constant)).astype("float64")


def _mean(constant: Any) -> float:
    return float(_values(constant).mean())
