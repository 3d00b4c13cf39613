"""Neurons of SpikingJelly: IF, LIF and parametric LIF, called step by step or on sequences."""

from __future__ import annotations

from typing import Any

import torch
from spikingjelly.activation_based import base
from spikingjelly.activation_based import neuron
from spikingjelly.activation_based import surrogate

from keras_dep.interop.torch_networks.neurons import Dynamics
from keras_dep.interop.torch_networks.neurons import Fire
from keras_dep.interop.torch_networks.stand_ins import StandIn
from keras_dep.interop.torch_networks.tracing import Untraceable

KINDS = (neuron.IFNode, neuron.LIFNode, neuron.ParametricLIFNode)
# The surrogates here that have the derivative of the library's, with width 1 / alpha.
SURROGATES = {
    surrogate.PiecewiseQuadratic: "triangle",
    surrogate.Rect: "rectangle",
    surrogate.Sigmoid: "sigmoid",
    surrogate.ATan: "arctan",
    surrogate.SoftSign: "fast_sigmoid",
    surrogate.PiecewiseExp: "piecewise_exponential",
}


class Firing(torch.nn.Module):
    """The surrogate function of a neuron, which may be replaced for a call.

    Args:
        function: a function from distances to spikes.
    """

    def __init__(self, function: Fire) -> None:
        super().__init__()
        self.function = function

    def forward(self, distances: torch.Tensor) -> torch.Tensor:
        return self.function(distances)


class Node(Dynamics):
    """The dynamics of a node of SpikingJelly, computed by its single step."""

    def __init__(self, module: Any) -> None:
        super().__init__(module)
        # In a tuple, the neuron does not take it for its own part.
        self._original = (module.surrogate_function,)
        module.surrogate_function = Firing(self.fire)

    def known_surrogate(self) -> tuple[str, float] | None:
        (original,) = self._original
        name, alpha = SURROGATES.get(type(original)), getattr(original, "alpha", None)
        if name is None or not isinstance(alpha, (int, float)) or not original.spiking:
            return None
        return name, 1.0 / alpha

    def fire(self, distances: torch.Tensor) -> torch.Tensor:
        return self._original[0](distances)

    def _leak(self) -> Any:
        """The share of the membrane that is lost per step."""
        if isinstance(self.module, neuron.LIFNode):
            return 1.0 / self.module.tau
        return self.module.w.sigmoid() if hasattr(self.module, "w") else 0.0

    def constants(self) -> tuple[Any, Any]:
        return 1.0 - self._leak(), self.module.v_threshold - (self.module.v_reset or 0.0)

    def gain(self) -> Any:
        return self._leak() if getattr(self.module, "decay_input", False) else 1.0

    def start(self, inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (torch.full_like(inputs, self.module.v_reset or 0.0, requires_grad=False),)

    def step(
        self, state: tuple[torch.Tensor, ...], inputs: torch.Tensor, fire: Fire
    ) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        firing = self.module.surrogate_function
        usual, firing.function = firing.function, fire
        try:
            (spikes,), state = self.module.single_step_functional_forward((inputs,), state)
        finally:
            firing.function = usual
        return state, spikes


class NodeStandIn(StandIn):
    """A node of SpikingJelly, called in step mode `s` or `m`."""

    def __init__(self, dynamics: Node, layer: Any, number: int) -> None:
        super().__init__(dynamics, layer, number)
        dynamics.module.surrogate_function.function = layer.fire

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if not self.tracing:
            return self.neuron(inputs)
        if self.neuron.step_mode == "m":
            if self.calls:
                raise Untraceable(f"{self.layer.kind} runs on several sequences in one pass")
            spikes = self.recorded(inputs, "sequence")
            self.neuron.v = self.recorded(inputs, "0")[-1]
        else:
            spikes, self.neuron.v = self.recorded(inputs), self.recorded(inputs, "0")
        self.calls += 1
        self.handed_out = self.neuron.v
        return spikes

    def forget_state(self) -> None:
        self.neuron.reset()

    def reset(self) -> None:
        """Resets the neuron, as code of a network may do before or after a pass."""
        if self.tracing and self.calls:
            raise Untraceable(f"{self.layer.kind} is reset within a pass")
        self.neuron.reset()


def recognised(module: Any) -> type[Node] | None:
    """The class for a neuron that is understood, or `None`."""
    finite = type(module) in KINDS and module.v_threshold < float("inf")
    return Node if finite and not module.store_v_seq else None


def stand_in(dynamics: Node, layer: Any, number: int) -> StandIn:
    """The module that takes the neuron's place."""
    return NodeStandIn(dynamics, layer, number)


def is_neuron(module: Any) -> bool:
    """Whether a module of the library fires."""
    if isinstance(module, neuron.BaseNode) and type(module) in KINDS:
        return module.v_threshold < float("inf")
    return isinstance(module, (neuron.BaseNode, neuron.SimpleBaseNode))


def forget(module: Any) -> None:
    """Resets the state that a module of the library keeps."""
    if isinstance(module, base.MemoryModule):
        module.reset()


def takes_sequences(module: Any) -> bool:
    """Whether a module of the library takes inputs `(T, batch, ...)`."""
    return getattr(module, "step_mode", "s") == "m"
