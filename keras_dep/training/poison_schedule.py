"""When poisoned batches enter training: a frozen, seeded schedule that every run can repeat."""

import dataclasses

import numpy as np

from keras_dep._internal import validation

POSITIONS = ("random", "first", "last")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PoisonSchedule:
    """Which training steps meet a batch from the other distribution.

    The paper writes `c/+p_k` for clean training with perturbed batches from epoch `k` on and
    `p/+c_k` for the reverse. What it leaves open are the arguments here.

    Args:
        first_epoch: onset `k`, counted from 0.
        count: poisoned batches per poisoned epoch, >= 0.
        every_epoch: poison each epoch from the onset on, or the onset alone.
        position: `"random"` (seeded, without repetition while there is room), `"first"` or
            `"last"` in the epoch.
        seed: seed of the random positions.

    Raises:
        ValueError: a negative number or an unknown position.

    Source: arXiv 2505.11134, Section 3 and Table 3.

    Example:

    >>> PoisonSchedule(first_epoch=2, count=1, position="last").batches(epoch=2, steps=20)
    (19,)
    """

    first_epoch: int = 0
    count: int = 1
    every_epoch: bool = True
    position: str = "random"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.first_epoch < 0 or self.count < 0:
            raise ValueError(
                "first_epoch and count must not be negative; received "
                f"first_epoch={self.first_epoch}, count={self.count}."
            )
        validation.one_of("position", self.position, POSITIONS)

    def poisons(self, epoch: int) -> bool:
        """Whether `epoch` (from 0) meets poisoned batches."""
        if not self.count or epoch < self.first_epoch:
            return False
        return self.every_epoch or epoch == self.first_epoch

    def batches(self, epoch: int, steps: int) -> tuple[int, ...]:
        """Indices, in order, of the poisoned batches among `steps` ordinary ones.

        Used to replace batches; at most `steps` of them.
        """
        if not self.poisons(epoch):
            return ()
        count = min(self.count, steps)
        if self.position == "first":
            return tuple(range(count))
        if self.position == "last":
            return tuple(range(steps - count, steps))
        return self._draw(epoch, steps, count)

    def gaps(self, epoch: int, steps: int) -> tuple[int, ...]:
        """Places, in order, where extra batches go: `j` means before ordinary batch `j`.

        `steps` stands for the end of the epoch, after the last ordinary batch. A place may occur
        more than once.
        """
        if not self.poisons(epoch):
            return ()
        if self.position == "random":
            return self._draw(epoch, steps + 1, self.count)
        return (0 if self.position == "first" else steps,) * self.count

    def _draw(self, epoch, places, count):
        draw = np.random.default_rng([self.seed, epoch])
        chosen = draw.choice(places, size=count, replace=count > places)
        return tuple(int(place) for place in np.sort(chosen))
