"""A torch network as a Keras layer, whose neurons are layers of this package."""

from __future__ import annotations

import collections
import inspect
from collections.abc import Callable
from collections.abc import Iterable
from typing import Any

import keras
import torch

from keras_dep._internal import keras_internals
from keras_dep._internal.types import Record
from keras_dep._internal.types import Shape
from keras_dep._internal.types import Tensor
from keras_dep.interop.torch_networks import libraries
from keras_dep.interop.torch_networks.tracing import Program

# Programs are kept for that many shapes of inputs.
PROGRAMS = 16
Note = Callable[[int, Tensor, Tensor], None]


class Calling:
    """How a torch network is called on images.

    Args:
        timesteps: number of steps that the network is given, or `None` for one that runs over time
            by itself.
        sequences: whether it takes all steps in one call, `(T, batch, ...)`.
        frames: whether images have a time axis, `(batch, T, ...)`.
        output: index or key of the logits among several outputs.
    """

    def __init__(
        self, timesteps: int | None, sequences: bool, frames: bool, output: int | str
    ) -> None:
        self.timesteps = timesteps
        self.sequences = sequences
        self.frames = frames
        self.output = output

    def __call__(self, module: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
        """The outputs of one pass over all steps, with the axes that the network gives them."""
        if self.timesteps is None:
            return self._logits(module(images))
        if self.frames:
            steps = images.transpose(0, 1)
        else:
            steps = images.unsqueeze(0).repeat(self.timesteps, *[1] * images.ndim)
        if self.sequences:
            return self._logits(module(steps))
        hands_state = "state" in inspect.signature(module.forward).parameters
        state, found = None, []
        for t in range(self.timesteps):
            # Equal inputs are one tensor, so that operations on them are merged.
            step = steps[t] if self.frames else images
            outputs = module(step, state) if hands_state else module(step)
            if hands_state:
                state = outputs[1]
            found.append(self._logits(outputs))
        return torch.stack(found)

    def _logits(self, outputs: Any) -> torch.Tensor:
        if isinstance(outputs, dict) or isinstance(outputs, (tuple, list)):
            try:
                outputs = outputs[self.output]  # type: ignore[index]  # A wrong one is caught.
            except (KeyError, IndexError, TypeError):
                received = list(outputs) if isinstance(outputs, dict) else f"{len(outputs)} outputs"
                raise ValueError(
                    f"output must name one of the outputs of the module; received {self.output!r}, "
                    f"and it returns {received}."
                ) from None
        if not isinstance(outputs, torch.Tensor):
            raise ValueError(
                f"module must return a tensor of logits; received {type(outputs).__name__}; name "
                "the logits by output=."
            )
        return outputs


class TorchNetwork(keras.layers.TorchModuleWrapper):
    """The copy of a torch network, called on images.

    In inference mode each layer of neurons runs once for all steps, in a program traced from the
    network. In training mode, and where the network cannot be traced, it runs as it is written.

    Args:
        module: the copy, with stand-ins in place of neurons.
        stand_ins: those, by their number.
        calling: how the network is called.
        channels_last: whether images have their channels last; the network gets them first.
        logits_shape: shape of the logits with axis 0 for the batch, `(None, classes)` or
            `(None, T, classes)`.
        time_first: whether the network returns logits `(T, batch, classes)`.
        unknown_parts: parts that may fire unknown to an attack.
        traced: whether to run the traced program in inference mode.

    Attributes:
        neurons: the layers of neurons, by their number.
        unknown_parts: as the argument; `keras_dep.evaluation.coverage` reports them.
        data_format: of the images.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        stand_ins: list[Any],
        calling: Calling,
        *,
        channels_last: bool = False,
        logits_shape: Shape | None = None,
        time_first: bool = False,
        unknown_parts: tuple[str, ...] = (),
        traced: bool = True,
        name: str | None = None,
    ) -> None:
        super().__init__(module, name=name, dtype="float32")
        self._name_weights()
        self.neurons = [each.layer for each in stand_ins]
        self.data_format = "channels_last" if channels_last else "channels_first"
        self.unknown_parts = unknown_parts
        self.logits_shape = logits_shape
        self.time_first = time_first
        self.traced = traced
        self._calling = calling
        # In a tuple, Keras does not track them a second time.
        self._stand_ins = tuple(stand_ins)
        self._programs: Any = _Kept()

    def call(self, images: Tensor, training: bool | None = None) -> Tensor:
        logits = self.raw_logits(images, training=bool(training))
        if images.requires_grad and not logits.requires_grad:
            # A network that rounds its input away has the gradient 0.
            logits = logits + 0 * images.sum()
        return logits.transpose(0, 1) if self.time_first else logits

    def raw_logits(
        self, images: Tensor, training: bool = False, note: Note | None = None
    ) -> Tensor:
        """Logits with the axes that the module gives them.

        Args:
            images: as in the call.
            training: as in the call.
            note: as in `Program.__call__`.

        Returns:
            A tensor.
        """
        if self.data_format == "channels_last":
            images = images.movedim(-1, -3)
        if self.module.training != training:
            self.module.train(training)
        if self.traced and not training:
            return self.program(images)(self.module, images, self.neurons, note)
        return self.directly(images)

    def neuron_inputs(self, images: Tensor) -> list[Tensor]:
        """The inputs `(T * batch, ...)` of each layer of neurons, by its number.

        Raises:
            ValueError: a network that is not traced, whose neurons run step by step.
        """
        if not self.traced:
            raise ValueError(
                f"the inputs of neurons need a network that can be traced; received {self.name!r}: "
                f"{'; '.join(self.unknown_parts)}."
            )
        found: dict[int, Tensor] = {}

        def note(number: int, inputs: Tensor, spikes: Tensor) -> None:
            found[number] = inputs

        self.raw_logits(images, note=note)
        return [found[number] for number in sorted(found)]

    def directly(self, images: Tensor) -> Tensor:
        """Logits of the network as it is written, from images with channels first."""
        libraries.forget(self.module)
        try:
            return self._calling(self.module, images)
        finally:
            libraries.forget(self.module)

    def program(self, images: Tensor) -> Program:
        """The program for images of a shape.

        Raises:
            Untraceable: there is none.
        """
        key = tuple(images.shape), str(images.dtype), str(images.device)
        if key not in self._programs.programs:
            libraries.forget(self.module)
            for each in self._stand_ins:
                each.tracing = True
            try:
                found = Program(self.module, self._forward, images)
            finally:
                for each in self._stand_ins:
                    each.tracing = False
                libraries.forget(self.module)
            self._programs.keep(key, found)
        return self._programs.programs[key]

    def _forward(self, images: torch.Tensor) -> torch.Tensor:
        return self._calling(self.module, images)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], *tuple(self.logits_shape or ())[1:])

    def get_config(self) -> Record:
        raise ValueError(
            "a model made by from_torch cannot be written to a .keras file; save the result of "
            f"torch_state_dict() of its layer {self.name!r} by torch.save."
        )

    def torch_state_dict(self) -> dict[str, torch.Tensor]:
        """The present weights, as the `state_dict` of the module that `from_torch` was given."""
        state = self.module.state_dict()
        return dict(zip(self._original_names(state), state.values()))

    def _name_weights(self) -> None:
        """Names the variables as torch does, with slashes; Keras calls all of them `variable`."""
        parameters = dict(self.module.named_parameters())
        names = dict(zip(map(id, parameters.values()), self._original_names(parameters)))
        for variable in self.weights:
            path = names[id(variable.value)].replace(".", "/")
            keras_internals.set_path(variable, f"{self.name}/{path}")

    def _original_names(self, names: Iterable[str]) -> list[str]:
        """Names of the copy's weights without the stand-ins that hold the neurons."""
        inside = [f"{name}." for name, part in self.module.named_modules() if _is_stand_in(part)]
        found = []
        for name in names:
            for prefix in inside:
                if name.startswith(prefix):
                    name = name.replace(f"{prefix}neuron.", prefix, 1)
            found.append(name)
        return found


class _Kept:
    """Programs by shape, of which the oldest are dropped."""

    def __init__(self) -> None:
        self.programs: collections.OrderedDict[Any, Program] = collections.OrderedDict()

    def keep(self, key: Any, program: Program) -> None:
        """Adds a program."""
        self.programs[key] = program
        while len(self.programs) > PROGRAMS:
            self.programs.popitem(last=False)


def _is_stand_in(module: torch.nn.Module) -> bool:
    return isinstance(module, libraries.StandIn)
