"""Shards: parts of a plan that processes without a common engine carry out."""

import dataclasses
import heapq
import re
from collections.abc import Iterable
from collections.abc import Sequence

from keras_dep.experiments import grid
from keras_dep.studies import cost


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shard:
    """One of several parts of the runs, of about the same work.

    The parts are disjoint, hold all runs together, and depend on the wanted runs alone: not on the
    machine, nor on finished runs. Runs that need one another are in the same part.

    Args:
        number: from 1 to `count`.
        count: number of parts.

    Raises:
        ValueError: a number outside these limits.

    Example:

    >>> Shard(number=2, count=8).name
    '2-of-8'
    """

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise ValueError(
                "shard must be i/n with i from 1 to n, as in 2/8; received "
                f"{self.number}/{self.count}."
            )

    @property
    def name(self) -> str:
        """Its name as part of a file's name."""
        return f"{self.number}-of-{self.count}"

    def of(self, cells: Iterable[grid.Cell]) -> list[grid.Cell]:
        """The cells of this part, in their order.

        Args:
            cells: all runs wanted.

        Example:

        >>> cells = grid.product({}, ["sgd", "dep"], range(3))
        >>> parts = [Shard(number=number, count=4).of(cells) for number in range(1, 5)]
        >>> [len(part) for part in parts]
        [2, 2, 1, 1]
        """
        cells = grid.unique(cells)
        loads = [(0.0, number) for number in range(1, self.count + 1)]
        chosen: set[str] = set()
        # The largest first, each to the part with the least work so far.
        for unit in sorted(_units(cells), key=lambda unit: (-_work(unit), unit[0].fingerprint)):
            load, number = heapq.heappop(loads)
            heapq.heappush(loads, (load + _work(unit), number))
            if number == self.number:
                chosen.update(cell.fingerprint for cell in unit)
        return [cell for cell in cells if cell.fingerprint in chosen]


def parse(text: str) -> Shard:
    """The shard of a text such as `2/8`.

    Args:
        text: number and count.

    Raises:
        ValueError: another form, or a number outside its limits.

    Example:

    >>> parse("2/8")
    Shard(number=2, count=8)
    """
    found = re.fullmatch(r"(\d+)/(\d+)", text.strip())
    if found is None:
        raise ValueError(f"shard must be i/n, as in 2/8; received {text!r}.")
    return Shard(number=int(found[1]), count=int(found[2]))


def _units(cells: Sequence[grid.Cell]) -> list[list[grid.Cell]]:
    """The cells in units that cannot be separated: those that need one another."""
    units = {cell.fingerprint: [cell] for cell in cells}
    for cell in cells:
        for name in grid.needs(cell):
            ours = units[cell.fingerprint]
            needed = units.get(cell.varied(method=name).fingerprint, ours)
            if needed is not ours:
                needed += ours
                units |= {each.fingerprint: needed for each in ours}
    return list({id(unit): unit for unit in units.values()}.values())


def _work(unit: Sequence[grid.Cell]) -> float:
    """The work of a unit in passes of a batch through one time step of a network."""
    return float(sum(map(_passes, unit)))


def _passes(cell: grid.Cell) -> int:
    s = cell.settings
    steps = grid.training_steps(s, s.train_examples or cost.TRAIN[s.dataset])
    # FGSM in the step is one more pass.
    return steps * (s.timesteps if s.spiking else 1) * (2 if s.base == "adversarial" else 1)
