"""Builds the Keras model of a torch network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import torch
from keras import ops

from keras_dep._internal import validation
from keras_dep._internal.types import ArrayLike
from keras_dep._internal.types import Tensor
from keras_dep.interop.torch_networks import libraries
from keras_dep.interop.torch_networks import proof
from keras_dep.interop.torch_networks.network import Calling
from keras_dep.interop.torch_networks.network import TorchNetwork
from keras_dep.interop.torch_networks.tracing import Untraceable

# Random images to prove a copy on, where none are given.
PROBES = 8
FORMATS = ("channels_first", "channels_last")


class PixelNormalization(keras.layers.Normalization):
    """Subtracts means and divides by deviations, in the arithmetic of torchvision.

    Args:
        means: one number per channel.
        deviations: likewise, positive.
        axis: axis of the channels.
    """

    def __init__(self, means: Sequence[float], deviations: Sequence[float], axis: int) -> None:
        squares = [deviation**2 for deviation in deviations]
        super().__init__(axis=axis, mean=list(means), variance=squares, dtype="float32")
        self._constants = tuple(means), tuple(deviations)
        self._channels = axis

    def call(self, images: Tensor) -> Tensor:
        shape = [1] * len(images.shape)
        shape[self._channels] = len(self._constants[0])
        means, deviations = (
            ops.reshape(ops.convert_to_tensor(each, images.dtype), shape)
            for each in self._constants
        )
        return (images - means) / deviations


def build(
    module: Any,
    input_shape: Sequence[int],
    timesteps: int | None,
    mean: Sequence[float] | float | None,
    std: Sequence[float] | float | None,
    *,
    data_format: str,
    sequences: bool | None,
    output: int | str,
    images: ArrayLike | None,
) -> keras.Model:
    """As `keras_dep.interop.from_torch`, with every argument."""
    if not isinstance(module, torch.nn.Module):
        raise ValueError(f"module must be a torch.nn.Module; received {type(module).__name__}.")
    validation.one_of("data_format", data_format, FORMATS)
    shape = _checked_shape(input_shape, timesteps)
    last = data_format == "channels_last"
    frames = len(shape) == 4
    axis = -1 if last or len(shape) == 1 else -3
    normalization = _normalization(mean, std, shape, axis)
    original = libraries.independent_copy(module).eval()
    if sequences is None:
        sequences = timesteps is not None and libraries.takes_sequences(original)
    calling = Calling(timesteps, sequences, frames, output)
    probes = _probes(images, shape)
    with torch.no_grad():
        seen = probes if normalization is None else normalization(probes)
    given = seen.movedim(-1, -3) if last and len(shape) > 1 else seen
    original = original.to(given.device)
    logits_shape, time_first = _logits_shape(original, calling, given)
    answers = proof.observed(original, calling, given)
    copy, stand_ins, unknown = libraries.replace_neurons(libraries.independent_copy(module).eval())
    name = type(module).__name__.lower()
    network = TorchNetwork(
        copy,
        stand_ins,
        calling,
        channels_last=last,
        logits_shape=logits_shape,
        time_first=time_first,
        name=name,
    )
    found = _not_understood(network, answers, given, type(module).__name__)
    network.unknown_parts = tuple(unknown + found)
    if answers.random and not any("random" in part for part in network.unknown_parts):
        network.unknown_parts += (f"{type(module).__name__} (draws at random)",)
    inputs = keras.Input(shape)
    body = inputs if normalization is None else normalization(inputs)
    return keras.Model(inputs, network(body), name=f"{name}_from_torch")


def _not_understood(
    network: TorchNetwork, answers: proof.Original, images: torch.Tensor, title: str
) -> list[str]:
    """Proves the copy, and sets how it runs; returns what may fire unknown to an attack."""
    strange: list[str] = []
    try:
        program = network.program(images)
        for number, steps in program.steps().items():
            network.neurons[number].timesteps = steps
        proof.check_equal(network, answers, images)
        strange = [f"{each} in {title}" for each in program.strange]
        if proof.gradients_agree(network, images):
            return strange
        reason = "a derivative written by hand"
    except Untraceable as error:
        reason = str(error)
    network.traced = False
    for layer in network.neurons:
        layer.takes_estimator = False
    proof.check_equal(network, answers, images)
    return [f"{title} ({reason})", *strange]


def _logits_shape(
    module: torch.nn.Module, calling: Calling, images: torch.Tensor
) -> tuple[tuple[int | None, ...], bool]:
    """The shape of the logits, and whether the time axis precedes the batch axis."""
    found = []
    for count in (2, 3):
        libraries.forget(module)
        with torch.no_grad():
            found.append(tuple(calling(module, images[:count]).shape))
    libraries.forget(module)
    here = found[0]
    moving = [axis for axis in range(len(here)) if found[0][axis] != found[1][axis]]
    if len(here) not in (2, 3) or moving not in ([0], [1]) or moving == [len(here) - 1]:
        raise ValueError(
            "module must return logits (batch, classes), (batch, T, classes) or (T, batch, "
            f"classes); received shape {here} for 2 images; name the logits by output=."
        )
    if here[-1] < 2:
        raise ValueError(
            f"module must have a class axis of at least 2; received logits of shape {here}."
        )
    if len(here) == 2:
        return (None, here[1]), False
    time_first = moving == [1]
    return (None, here[0] if time_first else here[1], here[2]), time_first


def _checked_shape(input_shape: Any, timesteps: Any) -> tuple[int, ...]:
    shape = tuple(input_shape) if isinstance(input_shape, (list, tuple)) else (input_shape,)
    whole = all(isinstance(each, int) and each > 0 for each in shape)
    if not whole or len(shape) not in (1, 3, 4):
        raise ValueError(
            "input_shape must be that of one image, as (3, 32, 32), of frames, as (8, 2, 32, 32), "
            f"or a number of features; received {input_shape!r}."
        )
    if timesteps is not None:
        validation.whole_number("timesteps", timesteps)
        if len(shape) == 4 and shape[0] != timesteps:
            raise ValueError(
                f"timesteps must be the number of frames, {shape[0]}; received {timesteps}."
            )
    return shape


def _normalization(
    mean: Any, std: Any, shape: tuple[int, ...], axis: int
) -> PixelNormalization | None:
    if (mean is None) != (std is None):
        raise ValueError(f"mean and std must be given together; received {mean} and {std}.")
    if mean is None:
        return None
    given = []
    for name, numbers in (("mean", mean), ("std", std)):
        numbers = np.ravel(np.asarray(numbers, "float64"))
        if len(numbers) not in (1, shape[axis]):
            raise ValueError(
                f"{name} must have one number per channel, {shape[axis]}; received {len(numbers)}."
            )
        given.append([float(each) for each in np.broadcast_to(numbers, (shape[axis],))])
    if min(given[1]) <= 0:
        raise ValueError(f"std must be positive; received {std}.")
    return PixelNormalization(given[0], given[1], axis)


def _probes(images: ArrayLike | None, shape: tuple[int, ...]) -> torch.Tensor:
    if images is None:
        images = np.random.default_rng(0).random((PROBES, *shape))
    found = validation.checked_images(np.asarray(images, "float32"), bounds=(0.0, 1.0))
    if tuple(found.shape[1:]) != shape:
        raise ValueError(
            f"images must have the shape {shape} of input_shape; received {tuple(found.shape[1:])}."
        )
    if len(found) < 3:
        found = np.concatenate([found] * 3)
    return ops.convert_to_tensor(found, "float32")
