"""Torch modules that take the place of neurons in the copy of a network."""

from __future__ import annotations

from typing import Any

import torch

from keras_dep.interop.torch_networks.neurons import Dynamics
from keras_dep.interop.torch_networks.neurons import TorchNeurons
from keras_dep.interop.torch_networks.tracing import Untraceable
from keras_dep.interop.torch_networks.tracing import node_of


class StandIn(torch.nn.Module):
    """A neuron of a library, called as that library calls it: the base of one class per protocol.

    Directly it runs the neuron as it is, with the spikes of the layer that represents it. While a
    program is traced it records its calls.

    Args:
        dynamics: the neuron.
        layer: the layer that represents it.
        number: its number in the network.
    """

    def __init__(self, dynamics: Dynamics, layer: TorchNeurons, number: int) -> None:
        super().__init__()
        self.neuron = dynamics.module
        self.number = number
        self.tracing = False
        self.calls = 0
        self.sequences = 0
        self.handed_out: Any = None
        # In a tuple, torch does not take the layer for a part of this module.
        self._layers = (layer,)

    def __getattr__(self, name: str) -> Any:
        # Code around the neuron may read its settings.
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("neuron"), name)

    @property
    def layer(self) -> TorchNeurons:
        """The layer that represents the neuron."""
        return self._layers[0]

    def forget(self) -> None:
        """Resets the neuron before a pass."""
        self.calls, self.sequences, self.handed_out = 0, 0, None
        self.forget_state()

    def forget_state(self) -> None:
        """Resets the state that the neuron itself keeps."""

    def recorded(self, inputs: torch.Tensor, what: str = "spikes") -> torch.Tensor:
        """The node of a traced program for spikes, a sequence of spikes, or a state."""
        return node_of(inputs, self.number, self.calls, what)

    def continues(self, state: Any) -> None:
        """Raises `Untraceable` unless a state is the one handed out by the step before."""
        if self.calls and state is not self.handed_out:
            raise Untraceable(f"{self.layer.kind} gets a state from elsewhere")
