"""The processes and devices that share the batches of one run, and which of them this one is."""

import contextlib
import dataclasses
import itertools
import math
import os
from collections.abc import Generator
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_dep._internal.types import ArrayLike
from keras_dep._internal.types import Tensor


@dataclasses.dataclass(kw_only=True)
class Workers:
    """One process with one device: nothing is shared. An engine overrides what it shares.

    Args:
        engine: name of the engine; `None` without one.
        rank: number of this process, from 0; 0 is the chief, which alone writes files.
        count: number of processes, each of which `fit` gives its own part of a batch.
        devices: number of devices of a process, which divide its batches among themselves.
        compiles: whether XLA may compile a train step.
        synchronised: whether batch normalisation takes its statistics over all parts.
        whole: whether a program computes on whole batches, and the framework divides its work. All
            processes then run the same programs; layers draw, and methods act, as on one device.
    """

    engine: str | None = None
    rank: int = 0
    count: int = 1
    devices: int = 1
    compiles: bool = True
    synchronised: bool = True
    whole: bool = False
    reducing: bool = dataclasses.field(default=True, init=False, repr=False)

    @property
    def parts(self) -> int:
        """Number of equal parts of a batch, over all processes and devices."""
        return self.count * self.devices

    @property
    def programs(self) -> int:
        """Number of processes whose programs each see their own part of a batch."""
        return 1 if self.whole else self.count

    @property
    def chief(self) -> bool:
        """Whether this process writes the files of the run."""
        return self.rank == 0

    def gathered(self, value: Any) -> list[Any]:
        """The values of all processes, in their order; each process must call it."""
        return [value]

    def of_chief(self, value: Any) -> Any:
        """The chief's value; each process must call it.

        Where all must go the same way, rounding and clocks of each must not decide.
        """
        return self.gathered(value)[0]

    def mean(self, tensor: Tensor) -> Tensor:
        """The mean of a tensor over the parts of a batch, with its derivative."""
        return tensor

    def total(self, tensor: Tensor) -> Tensor:
        """The sum of a tensor that each process computed by itself, without derivative."""
        return tensor

    def reduced(self, gradients: list[Tensor | None]) -> list[Tensor | None]:
        """The mean of gradients over the processes."""
        return gradients

    def divided(self, array: ArrayLike) -> ArrayLike:
        """An array with its samples on the devices, where programs can compute with such ones."""
        return array

    def in_parts(self, array: ArrayLike, model: keras.Model) -> ArrayLike:
        """An array divided for one call of a model, or of a function of this room that asks it."""
        return self.divided(array)

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        """A context in which the variables of a model and its optimizer are made."""
        return contextlib.nullcontext()

    def local(self, models: Sequence[keras.Model]) -> contextlib.AbstractContextManager[None]:
        """A block in which this process can compute with models without the others."""
        return contextlib.nullcontext()

    def leave(self) -> None:
        """Waits for the others at the end of the program."""


class Processes(Workers):
    """Processes that each run a program of their own, on a part of the batch.

    The gradients are averaged before a gradient transform sees them. An engine implements `total`.
    """

    def reduced(self, gradients: list[Tensor | None]) -> list[Tensor | None]:
        if not self.reducing:
            return gradients
        present = [ops.convert_to_tensor(g) for g in gradients if g is not None]
        means = iter(self._means(present))
        return [None if g is None else next(means) for g in gradients]

    def _means(self, gradients: list[Tensor]) -> list[Tensor]:
        """One collective for all gradients of a type: each costs a round over the network."""
        found: dict[int, Tensor] = {}
        for dtype in {g.dtype: None for g in gradients}:
            alike = [(i, g) for i, g in enumerate(gradients) if g.dtype == dtype]
            flat = self.total(ops.concatenate([ops.reshape(g, (-1,)) for _, g in alike]))
            ends = itertools.accumulate(math.prod(g.shape) for _, g in alike)
            parts = ops.split(flat / self.count, list(ends)[:-1])
            found.update((i, ops.reshape(part, g.shape)) for (i, g), part in zip(alike, parts))
        return [found[i] for i in range(len(gradients))]


_current = Workers()


def workers() -> Workers:
    """The workers of this run; a single one until an engine is started."""
    return _current


def use_workers(joined: Workers) -> None:
    """Makes `joined` the current ones."""
    global _current
    _current = joined


@contextlib.contextmanager
def alone(models: Sequence[keras.Model] = ()) -> Generator[None, None, None]:
    """A block in which this process works by itself, and makes variables of its own.

    Args:
        models: models made before, which it computes with.
    """
    before, distribution = _current, keras.distribution.distribution()
    with before.local(models):
        use_workers(Workers(rank=before.rank))
        keras.distribution.set_distribution(None)
        try:
            yield
        finally:
            use_workers(before)
            keras.distribution.set_distribution(distribution)


@contextlib.contextmanager
def reduced_already() -> Generator[None, None, None]:
    """A block in which gradients are means over the processes, and are not averaged again."""
    joined = _current
    before, joined.reducing = joined.reducing, False
    try:
        yield
    finally:
        joined.reducing = before


def enough(engine: str, found: Sequence[Any], wanted: int | None) -> list[Any]:
    """The first `wanted` of the devices found, all by default.

    Raises:
        ValueError: fewer than two, or fewer than wanted.
    """
    if wanted is not None and not 2 <= wanted <= len(found):
        raise ValueError(
            f"devices must be from 2 to {len(found)}, those of this machine; received {wanted}."
        )
    if len(found) < 2:
        raise ValueError(
            f"distribute={engine} needs at least 2 devices; received {len(found)}; set devices to "
            "divide a processor, or train without it."
        )
    return list(found[:wanted])


@contextlib.contextmanager
def dividing_processor(devices: int, framework: str) -> Generator[None, None, None]:
    """A block that divides the processor into devices.

    Raises:
        ValueError: the framework has computed already.
    """
    try:
        yield
    except RuntimeError as error:
        raise ValueError(
            f"devices must be set before {framework} computes; received {devices} after that; "
            "start the engine first."
        ) from error


def environment_number(name: str, engine: str, launch: str) -> int:
    """A whole number that a launcher puts into the environment.

    Raises:
        ValueError: it is missing: the program was started otherwise.
    """
    value = os.environ.get(name, "")
    if not value.isdigit():
        raise ValueError(
            f"distribute={engine} needs the environment of its launcher; received {name}="
            f"{value!r}; start the program with {launch}."
        )
    return int(value)
