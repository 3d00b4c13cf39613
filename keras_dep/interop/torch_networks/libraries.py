"""The libraries whose neurons are understood, one file each."""

from __future__ import annotations

import copy
import importlib
from typing import Any

import torch

from keras_dep.interop.torch_networks.neurons import TorchNeurons
from keras_dep.interop.torch_networks.stand_ins import StandIn

NAMES = ("norse", "snntorch", "spikingjelly")


def library_of(module: torch.nn.Module) -> Any | None:
    """The file for the library that a module's class is from, or `None`."""
    # A class derived from one of a library counts as the library's; it is not understood.
    packages = [kind.__module__.partition(".")[0] for kind in type(module).__mro__]
    known = [name for name in packages if name in NAMES]
    if not known:
        return None
    return importlib.import_module(f"keras_dep.interop.torch_networks.{known[0]}")


def independent_copy(module: torch.nn.Module) -> torch.nn.Module:
    """A copy that shares nothing with a module, whose state may belong to a graph.

    Raises:
        ValueError: a module that cannot be copied.
    """
    state = [each for part in module.modules() for each in _tensors(list(vars(part).values()))]
    memo = {id(each): each.detach().clone() for each in state if not each.is_leaf}
    try:
        return copy.deepcopy(module, memo)
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"module must be one that copy.deepcopy copies; received {type(module).__name__}, which"
            f" raises {type(error).__name__}: {reason}."
        ) from error


def replace_neurons(module: torch.nn.Module) -> tuple[torch.nn.Module, list[StandIn], list[str]]:
    """Puts stand-ins in place of the neurons that are understood.

    Args:
        module: a network of one's own, which changes.

    Returns:
        The network, the stand-ins in the order of its modules, and the types of neurons that are
        not understood.
    """
    made: dict[int, StandIn] = {}
    unknown = set()
    for name, part in list(module.named_modules()):
        library = library_of(part)
        if library is None or not library.is_neuron(part):
            continue
        kind = library.recognised(part)
        if kind is None:
            unknown.add(f"{type(part).__name__} of {type(part).__module__.partition('.')[0]}")
            continue
        dynamics = kind(part)
        title = name.replace(".", "_") or "neurons"
        layer = TorchNeurons(dynamics, name=title)
        made[id(part)] = library.stand_in(dynamics, layer, len(made))
    if id(module) in made:
        return made[id(module)], list(made.values()), sorted(unknown)
    for parent in list(module.modules()):
        if isinstance(parent, StandIn):
            continue
        for name, child in parent.named_children():
            if id(child) in made:
                setattr(parent, name, made[id(child)])
    return module, list(made.values()), sorted(unknown)


def forget(module: torch.nn.Module) -> None:
    """Resets the state of every module of a known library."""
    for part in list(module.modules()):
        if isinstance(part, StandIn):
            part.forget()
        elif library := library_of(part):
            library.forget(part)


def takes_sequences(module: torch.nn.Module) -> bool:
    """Whether a network takes inputs `(T, batch, ...)`, by the modules in it."""
    parts = ((library_of(part), part) for part in module.modules())
    return any(library.takes_sequences(part) for library, part in parts if library)


def _tensors(values: Any) -> list[torch.Tensor]:
    if isinstance(values, torch.Tensor):
        return [values]
    if isinstance(values, dict):
        values = list(values.values())
    if isinstance(values, (list, tuple)):
        return [each for value in values for each in _tensors(value)]
    return []
