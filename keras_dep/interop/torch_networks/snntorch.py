"""Neurons of snnTorch: `Leaky` and `Synaptic`."""

from __future__ import annotations

import inspect
from typing import Any

import snntorch
import torch

from keras_dep.interop.torch_networks.neurons import Dynamics
from keras_dep.interop.torch_networks.neurons import Fire
from keras_dep.interop.torch_networks.stand_ins import StandIn

KINDS = (snntorch.Leaky, snntorch.Synaptic)
# The surrogates here with the derivative of the library's functions, and the name of their inverse
# width.
SURROGATES = {"atan": ("arctan", "alpha"), "sigmoid": ("sigmoid", "slope")}


class Neuron(Dynamics):
    """The dynamics of a neuron of snnTorch, computed by its forward."""

    fires_at_threshold = False

    def __init__(self, module: Any) -> None:
        super().__init__(module)
        self.states = 2 if isinstance(module, snntorch.Synaptic) else 1
        self._original = module.spike_grad
        # The reset has no derivative, and must not count as a spike of its own.
        module.mem_reset = self._reset

    def known_surrogate(self) -> tuple[str, float] | None:
        maker = getattr(self._original, "__qualname__", "").partition(".")[0]
        if maker not in SURROGATES or self._original.__module__ != "snntorch.surrogate":
            return None
        name, steepness = SURROGATES[maker]
        return name, 1.0 / float(inspect.getclosurevars(self._original).nonlocals[steepness])

    def fire(self, distances: torch.Tensor) -> torch.Tensor:
        return self._original(distances)

    def constants(self) -> tuple[Any, Any]:
        return self.module.beta.clamp(0, 1), self.module.threshold

    def start(self, inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (torch.zeros_like(inputs),) * self.states

    def step(
        self, state: tuple[torch.Tensor, ...], inputs: torch.Tensor, fire: Fire
    ) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        module = self.module
        usual, module.spike_grad = module.spike_grad, fire
        self._set(state)
        try:
            outputs = module(inputs)
        finally:
            module.spike_grad = usual
        spikes = outputs if isinstance(outputs, torch.Tensor) else outputs[0]
        return self.present(), spikes

    def present(self) -> tuple[torch.Tensor, ...]:
        """The state that the neuron keeps."""
        own = (self.module.mem,)
        return (self.module.syn, *own) if self.states == 2 else own

    def _set(self, state: tuple[torch.Tensor, ...]) -> None:
        if self.states == 2:
            self.module.syn = state[0]
        self.module.mem = state[-1]

    def _reset(self, membrane: torch.Tensor) -> torch.Tensor:
        return (membrane.detach() - self.module.threshold.detach() > 0).to(membrane.dtype)


class NeuronStandIn(StandIn):
    """A neuron of snnTorch, which takes and returns its state, or keeps it."""

    def __init__(self, dynamics: Neuron, layer: Any, number: int) -> None:
        super().__init__(dynamics, layer, number)
        self._states = dynamics.states

        def fire(distances: torch.Tensor) -> torch.Tensor:
            return layer.fire(dynamics.with_strict_threshold(distances))

        dynamics.module.spike_grad = fire

    def forward(self, inputs: torch.Tensor, *state: Any, **named: Any) -> Any:
        if not self.tracing:
            return self.neuron(inputs, *state, **named)
        given = [each for each in (*state, *named.values()) if each is not None]
        if self.calls:
            handed = self.handed_out
            same = len(given) == len(handed) and all(map(_is, given, handed))
            self.continues(handed if same or (self.neuron.init_hidden and not given) else given)
        spikes = self.recorded(inputs)
        self.handed_out = tuple(self.recorded(inputs, str(i)) for i in range(self._states))
        self.calls += 1
        if self.neuron.init_hidden and not self.neuron.output:
            return spikes
        return spikes, *self.handed_out

    def forget_state(self) -> None:
        self.neuron.reset_mem()


def recognised(module: Any) -> type[Neuron] | None:
    """The class for a neuron that is understood, or `None`."""
    if type(module) not in KINDS:
        return None
    plain = not (module.inhibition or module.state_quant or module.surrogate_disable)
    factor = module.graded_spikes_factor
    graded = isinstance(factor, torch.nn.Parameter) or bool((factor != 1).any())
    return Neuron if plain and not graded else None


def stand_in(dynamics: Neuron, layer: Any, number: int) -> StandIn:
    """The module that takes the neuron's place."""
    return NeuronStandIn(dynamics, layer, number)


def is_neuron(module: Any) -> bool:
    """Whether a module of the library fires."""
    return isinstance(module, snntorch.SpikingNeuron)


def forget(module: Any) -> None:
    """Resets the state that a module of the library keeps."""
    for name in ("reset_mem", "reset_hidden"):
        if isinstance(module, snntorch.SpikingNeuron) and hasattr(module, name):
            getattr(module, name)()
            return


def takes_sequences(module: Any) -> bool:
    """Whether a module of the library takes inputs `(T, batch, ...)`."""
    return False


def _is(one: Any, other: Any) -> bool:
    return one is other
