"""The rule that turns a difference over seeds into a verdict on a claim."""

import dataclasses
import math
import statistics
from collections.abc import Sequence

STANDS, RELEASED_ONLY, REVERSED = "stands", "stands under the released protocol only", "reversed"
OPEN, NOT_TESTED = "open", "not tested at this scale"
FEWEST_SEEDS = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Difference:
    """A difference over seeds, positive on the side that the paper claims.

    Args:
        values: a value per seed.

    Example:

    >>> found = Difference(values=(1.0, 2.0, 3.0))
    >>> found.mean, [round(end, 2) for end in found.interval]
    (2.0, [-0.48, 4.48])
    """

    values: Sequence[float]

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return statistics.fmean(self.values)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the mean by Student's t; unbounded with one seed."""
        # A second to import, which most callers need not wait for.
        from scipy import stats

        count = len(self.values)
        if count < 2:
            return -math.inf, math.inf
        half = statistics.stdev(self.values) / math.sqrt(count) * stats.t.ppf(0.975, count - 1)
        return self.mean - float(half), self.mean + float(half)


def verdict(correct: Difference | None, released: Difference | None = None) -> str:
    """The verdict on a claim.

    Args:
        correct: the difference under correct semantics, or `None` where it was not measured.
        released: the same under the released protocol.

    Returns:
        `"stands"` where the interval under correct semantics, of three seeds or more, lies on the
        claimed side; `"stands under the released protocol only"` where it does so there, and three
        seeds or more under correct semantics do not; `"reversed"` where the interval under correct
        semantics lies on the other side; `"open"` where it holds zero or there are fewer seeds;
        `"not tested at this scale"` without any.

    Example:

    >>> verdict(Difference(values=(1.0, 1.1, 0.9)))
    'stands'
    """
    if correct is None and released is None:
        return NOT_TESTED
    if _side(correct) > 0:
        return STANDS
    # Without the seeds that a verdict takes, nothing is known about correct semantics.
    known = correct is not None and len(correct.values) >= FEWEST_SEEDS
    if known and _side(released) > 0:
        return RELEASED_ONLY
    return REVERSED if _side(correct) < 0 else OPEN


def _side(difference: Difference | None) -> int:
    """1 on the claimed side, -1 on the other, 0 where that is open."""
    if difference is None or len(difference.values) < FEWEST_SEEDS:
        return 0
    low, high = difference.interval
    return (low > 0) - (high < 0)
