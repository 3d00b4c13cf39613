"""The proof that a copy computes what the original network computes."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from keras_dep.interop.torch_networks import libraries
from keras_dep.interop.torch_networks.network import Calling
from keras_dep.interop.torch_networks.network import TorchNetwork

# Largest difference of a logit, relative to the largest logit or 1.
TOLERANCE = 1e-5
# Largest difference of an input gradient between two orders of operations, relative to the largest.
GRADIENT_TOLERANCE = 1e-3


@dataclasses.dataclass
class Original:
    """What the original network answers to some images.

    Attributes:
        logits: its outputs, with the axes that it gives them.
        spikes: those of each neuron that is understood, `(T * batch, ...)`, with its name.
        random: whether the outputs depend on random numbers.
    """

    logits: torch.Tensor
    spikes: list[tuple[str, torch.Tensor]]
    random: bool


def observed(module: torch.nn.Module, calling: Calling, images: torch.Tensor) -> Original:
    """Runs a copy of the original network on images.

    Args:
        module: the copy, in evaluation mode.
        calling: how it is called.
        images: normalised images, channels first.

    Returns:
        What it answers.

    Raises:
        ValueError: the network keeps state between calls that its libraries do not reset.
    """
    first = _answer(module, calling, images, seed=0)
    again = _answer(module, calling, images, seed=0)
    if not _equal(first, again):
        raise ValueError(
            f"module must give equal images equal logits; received {type(module).__name__}, which "
            "keeps state between calls; reset that state at the start of its forward."
        )
    random = not _equal(first, _answer(module, calling, images, seed=1))
    kept: dict[str, list[torch.Tensor]] = {}
    hooks = []
    for name, part in module.named_modules():
        library = libraries.library_of(part)
        if library and library.is_neuron(part) and library.recognised(part):
            seen = kept.setdefault(name, [])
            hooks.append(part.register_forward_hook(_noting(seen)))
    logits = _answer(module, calling, images, seed=0)
    for hook in hooks:
        hook.remove()
    spikes = [(name, _folded(found, len(images))) for name, found in kept.items()]
    return Original(logits, spikes, random)


def check_equal(network: TorchNetwork, original: Original, images: torch.Tensor) -> None:
    """Checks the spikes and logits of a copy.

    Args:
        network: the copy.
        original: what the original answers to the images.
        images: as in `observed`.

    Raises:
        ValueError: other logits; the line names the first layer whose spikes differ.
    """
    spikes: dict[int, torch.Tensor] = {}
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        if network.traced:
            program = network.program(images)
            note = _Noting(spikes)
            logits = program(network.module, images, network.neurons, note)
        else:
            logits = network.directly(images)
    if _close(logits, original.logits):
        return
    order = list(spikes) or list(range(len(original.spikes)))
    for number in order:
        name, expected = original.spikes[number]
        found = spikes.get(number)
        if found is not None and not _equal(found, expected):
            share = float((found != expected).float().mean())
            raise ValueError(
                f"module must be one whose neurons are understood; layer {name!r} fires otherwise "
                f"in the copy, at {share:.2%} of its steps; report this network."
            )
    largest = float((logits - original.logits).abs().max())
    raise ValueError(
        "module must be one whose copy answers the same; received logits that differ by "
        f"{largest:.3g}, with equal spikes; report this network."
    )


def gradients_agree(network: TorchNetwork, images: torch.Tensor) -> bool:
    """Whether the program and the network as it is written have equal gradients in the images.

    They differ where a derivative is written by hand, which tracing does not see.
    """
    draw = torch.Generator().manual_seed(0)
    program = network.program(images)
    found: list[Any] = []
    for run in (network.directly, lambda x: program(network.module, x, network.neurons)):
        x = images.detach().clone().requires_grad_(True)
        with torch.enable_grad(), torch.random.fork_rng():
            torch.manual_seed(0)
            logits = run(x)
            draw.manual_seed(0)
            weights = torch.randn(logits.shape, generator=draw).to(logits)
            total = (logits * weights).sum()
            if not total.requires_grad:
                found.append(torch.zeros_like(x))
                continue
            found.append(torch.autograd.grad(total, x, materialize_grads=True)[0])
    largest = float(found[0].abs().max())
    return float((found[0] - found[1]).abs().max()) <= GRADIENT_TOLERANCE * max(largest, 1e-12)


class _Noting:
    def __init__(self, spikes: dict[int, torch.Tensor]) -> None:
        self.spikes = spikes

    def __call__(self, number: int, inputs: torch.Tensor, spikes: torch.Tensor) -> None:
        self.spikes[number] = spikes


def _noting(seen: list[torch.Tensor]) -> Any:
    def hook(module: torch.nn.Module, inputs: Any, outputs: Any) -> None:
        seen.append((outputs if isinstance(outputs, torch.Tensor) else outputs[0]).detach())

    return hook


def _answer(
    module: torch.nn.Module, calling: Calling, images: torch.Tensor, seed: int
) -> torch.Tensor:
    libraries.forget(module)
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(seed)
        logits = calling(module, images)
    libraries.forget(module)
    return logits


def _folded(found: list[torch.Tensor], batch: int) -> torch.Tensor:
    """Spikes `(T * batch, ...)` of the calls of a neuron, each for a step or for all."""
    if not found:
        return torch.zeros(0)
    if len(found) == 1 and found[0].shape[0] != batch:
        return found[0].flatten(0, 1)
    return torch.cat(found)


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and bool(
        torch.equal(torch.nan_to_num(one), torch.nan_to_num(other))
    )


def _close(found: torch.Tensor, expected: torch.Tensor) -> bool:
    if _equal(found, expected):
        return True
    if found.shape != expected.shape:
        return False
    limit = TOLERANCE * max(1.0, float(expected.abs().max()))
    same = torch.equal(found.argmax(-1), expected.argmax(-1))
    return same and float((found - expected).abs().max()) <= limit
