"""Neurons of Norse: `LIF` and `LIFBox` cells, and the LIF layer that runs over time."""

from __future__ import annotations

from typing import Any

import torch
from norse.torch.functional.lif import LIFFeedForwardState
from norse.torch.functional.lif_box import LIFBoxFeedForwardState
from norse.torch.functional.threshold import threshold
from norse.torch.module import leaky_integrator
from norse.torch.module import lif
from norse.torch.module import lif_box
from norse.torch.module import snn
from norse.torch.module.lift import Lift

from keras_dep.interop.torch_networks.neurons import Dynamics
from keras_dep.interop.torch_networks.neurons import Fire
from keras_dep.interop.torch_networks.stand_ins import StandIn

KINDS = (lif.LIFCell, lif.LIF, lif_box.LIFBoxCell)
SEQUENCES = (snn.SNN, snn.SNNRecurrent, Lift)
# Modules of the library that integrate and never fire.
SILENT = (leaky_integrator.LICell, leaky_integrator.LI)


class Cell(Dynamics):
    """The dynamics of a cell of Norse, one Euler step of its differential equation."""

    fires_at_threshold = False
    states = 2

    def fire(self, distances: torch.Tensor) -> torch.Tensor:
        p = self.module.p
        return threshold(distances, p.method, p.alpha)

    def constants(self) -> tuple[Any, Any]:
        p = self.module.p
        return 1.0 - self.gain(), p.v_th - p.v_leak

    def gain(self) -> Any:
        return self.module.dt * self.module.p.tau_mem_inv

    def start(self, inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        rest = torch.as_tensor(self.module.p.v_leak).detach().to(inputs)
        return torch.zeros_like(inputs), rest.expand_as(inputs)

    def step(
        self, state: tuple[torch.Tensor, ...], inputs: torch.Tensor, fire: Fire
    ) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        p, dt = self.module.p, self.module.dt
        current, potential = state[0] + inputs, state[1]
        potential = potential + dt * p.tau_mem_inv * ((p.v_leak - potential) + current)
        spikes = fire(potential - p.v_th)
        current = current + -dt * p.tau_syn_inv * current
        return (current, (1 - spikes) * potential + spikes * p.v_reset), spikes

    def handed(self, states: tuple[torch.Tensor, ...]) -> Any:
        """The state as the library hands it out."""
        return LIFFeedForwardState(v=states[1], i=states[0])


class BoxCell(Cell):
    """The dynamics of a cell without a synaptic current."""

    states = 1

    def start(self, inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return super().start(inputs)[1:]

    def step(
        self, state: tuple[torch.Tensor, ...], inputs: torch.Tensor, fire: Fire
    ) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        p, (potential,) = self.module.p, state
        charge = self.module.dt * p.tau_mem_inv * (inputs + p.v_leak - potential)
        potential = potential + charge
        spikes = fire(potential - p.v_th)
        return (p.reset_method(spikes, potential, p.v_reset, p.v_th),), spikes

    def handed(self, states: tuple[torch.Tensor, ...]) -> Any:
        return LIFBoxFeedForwardState(v=states[0])


class CellStandIn(StandIn):
    """A cell of Norse, which takes and returns its state."""

    def __init__(self, dynamics: Cell, layer: Any, number: int) -> None:
        super().__init__(dynamics, layer, number)
        self._dynamics = dynamics
        self._whole = isinstance(dynamics.module, snn.SNN)

    def forward(self, inputs: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, Any]:
        if not self.tracing:
            return self._direct(inputs, state)
        self.continues(state)
        names = [str(i) for i in range(self._dynamics.states)]
        states = tuple(self.recorded(inputs, name) for name in names)
        spikes = self.recorded(inputs, "sequence" if self._whole else "spikes")
        if self._whole:
            states = tuple(each[-1] for each in states)
        self.calls += 1
        self.handed_out = self._dynamics.handed(states)
        return spikes, self.handed_out

    def _direct(self, inputs: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
        cell, fire = self._dynamics, self._fire
        steps = inputs if self._whole else inputs[None]
        held = cell.start(steps[0])
        if state is not None:
            held = (state.i, state.v) if cell.states == 2 else (state.v,)
        spikes = []
        for each in steps:
            held, fired = cell.step(held, each, fire)
            spikes.append(fired)
        found = torch.stack(spikes) if self._whole else spikes[0]
        return found, cell.handed(held)

    def _fire(self, distances: torch.Tensor) -> torch.Tensor:
        return self.layer.fire(self._dynamics.with_strict_threshold(distances))


def recognised(module: Any) -> type[Cell] | None:
    """The class for a neuron that is understood, or `None`."""
    if type(module) not in KINDS or module.p.method == "adjoint":
        return None
    if getattr(module, "record_states", False):
        return None
    return BoxCell if isinstance(module, lif_box.LIFBoxCell) else Cell


def stand_in(dynamics: Cell, layer: Any, number: int) -> StandIn:
    """The module that takes the neuron's place."""
    return CellStandIn(dynamics, layer, number)


def is_neuron(module: Any) -> bool:
    """Whether a module of the library fires."""
    kinds = (snn.SNNCell, snn.SNN, snn.SNNRecurrentCell, snn.SNNRecurrent)
    return isinstance(module, kinds) and not isinstance(module, SILENT)


def forget(module: Any) -> None:
    """Resets the state that a module of the library keeps: it keeps none."""


def takes_sequences(module: Any) -> bool:
    """Whether a module of the library takes inputs `(T, batch, ...)`."""
    return isinstance(module, SEQUENCES)
