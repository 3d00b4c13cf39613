"""The paper's claims as questions that the lines of tables answer, with verdicts by one rule."""

import dataclasses
import math
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence

from keras_dep.studies import growth
from keras_dep.studies.lines import Line
from keras_dep.studies.paper_values import METHODS
from keras_dep.studies.verdict import Difference
from keras_dep.studies.verdict import verdict

RIVALS = tuple(name for name in METHODS if name not in ("sgd", "dep"))
BY_SEED = dict[int, float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Claim:
    """One claim of the paper.

    Args:
        number: its number on the page.
        text: what is claimed.
        where: its place in the paper.
        measured: what the difference is, in words; positive on the claimed side.
        correct: function of `Lines`: a value per seed under correct semantics; empty if untested.
        released: the same under the released protocol, or `None` where that makes no difference.
        tables: names of the tables it is read from.
    """

    number: int
    text: str
    where: str
    measured: str
    correct: Callable[["Lines"], BY_SEED]
    released: Callable[["Lines"], BY_SEED] | None = None
    tables: Sequence[str] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lines:
    """The lines of all tables for one data set, to be looked up.

    Args:
        lines: the lines.
    """

    lines: Sequence[Line]

    @property
    def chance(self) -> float:
        """Accuracy of guessing, in percent."""
        return self.lines[0].chance if self.lines else 10.0

    def values(self, method: str, condition: str, quantity: str) -> BY_SEED:
        """Values by seed of a spiking network; empty where there is no such line.

        Args:
            method: the method.
            condition: kind of training, as `keras_dep.experiments.grid.condition` writes it.
            quantity: quantity of the line.
        """
        for line in self.lines:
            key = line.method, line.condition, line.quantity
            if key == (method, condition, quantity) and line.spiking:
                return dict(zip(line.seeds, line.values))
        return {}

    def quantities(self, start: str) -> list[str]:
        """The quantities that begin so, each once."""
        found = dict.fromkeys(line.quantity for line in self.lines)
        return [each for each in found if each.startswith(start)]

    def conditions(self, start: str, end: str = "") -> list[str]:
        """The kinds of training that begin and end so, each once."""
        found = dict.fromkeys(line.condition for line in self.lines)
        return [each for each in found if each.startswith(start) and each.endswith(end)]


def combine(function: Callable[..., float], *operands: BY_SEED) -> BY_SEED:
    """A function of the values of each seed that all operands have.

    Example:

    >>> combine(max, {0: 1.0, 1: 5.0}, {1: 2.0})
    {1: 5.0}
    """
    if not operands:
        return {}
    shared = [seed for seed in operands[0] if all(seed in each for each in operands)]
    return {seed: function(*(each[seed] for each in operands)) for seed in shared}


CLEAN_ACCURACY = "clean accuracy (%)"
PIXEL, BY_RELEASED = "", ", poison released"


def _half_lost(lines: Lines, method: str, base: str, conditions: Sequence[str]) -> BY_SEED:
    """By how much clean accuracy ends below half of what was learnt without poison.

    The least over the conditions.
    """

    def margin(plain, *poisoned):
        half = lines.chance + (plain - lines.chance) / 2
        return half - max(poisoned)

    found = [lines.values(method, each, CLEAN_ACCURACY) for each in conditions]
    found = [each for each in found if each]
    if not found:
        return {}
    return combine(margin, lines.values(method, base, CLEAN_ACCURACY), *found)


def _kept(lines: Lines, how: str) -> BY_SEED:
    """By how much DEP stays above half of what it learnt, in the worst condition."""
    margins = []
    for base, other in (("c", "p"), ("p", "c")):
        for condition in lines.conditions(f"{base}/+{other}_0, "):
            poison = condition.partition(" batch")[2].removeprefix("es")
            if poison == how:
                margins.append(_half_lost(lines, "dep", base, [condition]))
    # Fewer batches do not stand for all of them.
    if not _half_lost(lines, "dep", "c", [f"c/+p_0, 5 batches{how}"]):
        return {}
    margins = [each for each in margins if each]
    return combine(lambda *lost: -max(lost), *margins)


def _onsets(lines: Lines, base: str, other: str) -> list[str]:
    found = lines.conditions(f"{base}/+{other}_", ", 1 batch")
    return found if len(found) > 1 else []


def _above_rivals(quantities: Sequence[str], condition: str) -> Callable[[Lines], BY_SEED]:
    def find(lines: Lines) -> BY_SEED:
        for quantity in quantities:
            rivals = [lines.values(name, condition, quantity) for name in RIVALS]
            ours = lines.values("dep", condition, quantity)
            # Some of the rivals do not stand for all of them.
            if ours and all(rivals):
                return combine(lambda dep, *others: dep - max(others), ours, *rivals)
        return {}

    return find


def _lower_radius(lines: Lines) -> BY_SEED:
    def relative(kind: str) -> BY_SEED:
        name = f"spectral radius, {kind}"
        sgd, dep = (lines.values(method, "c", name) for method in ("sgd", "dep"))
        return combine(lambda a, b: 100 * (1 - b / a) if a else math.nan, sgd, dep)

    found = [relative(kind) for kind in ("clean", "fgsm", "pgd")]
    return combine(min, *found)


def _less_curvature(lines: Lines) -> BY_SEED:
    gradient = lines.values("sgd", "c", "curvature along the gradient")
    cosine = lines.values("sgd", "c", "cosine of removed to sharpest, in magnitude")
    step = lines.values("sgd", "c", "curvature along DEP's step")
    removed = combine(lambda g, s: 1 - s / g if g > 0 else math.nan, gradient, step)
    # The removed component would be the sharp direction with a cosine of more than one half.
    found = combine(lambda less, c: min(less, c - 0.5), removed, cosine)
    return {seed: value for seed, value in found.items() if math.isfinite(value)}


def _growth(lines: Lines) -> BY_SEED:
    exponents = [
        lines.values("sgd", growth.BPTT, name) for name in lines.quantities(growth.EXPONENT)
    ]
    # One kind alone does not tell the effect of T from that of the weights' size.
    return combine(min, *exponents) if len(exponents) > 1 else {}


def _black_box(lines: Lines) -> BY_SEED:
    names = lines.quantities("fgsm, transferred") + lines.quantities("pgd, transferred")
    gains = []
    for name in names:
        if " at 0/255" not in name:
            dep, sgd = (lines.values(method, "c", name) for method in ("dep", "sgd"))
            gains.append(combine(lambda a, b: a - b, dep, sgd))
    return combine(min, *gains)


def _no_sign(lines: Lines) -> BY_SEED:
    signs = [lines.values("dep", "c", name) for name in lines.quantities("sign ")]
    signs = [each for each in signs if each]
    return combine(lambda *passed: 0.5 - sum(each < 100 for each in passed), *signs)


def _cheap(lines: Lines) -> BY_SEED:
    dep, sgd = (lines.values(method, "c", CLEAN_ACCURACY) for method in ("dep", "sgd"))
    return combine(lambda a, b: 5 - (b - a), dep, sgd)


_LOST = "half of what was learnt without poison minus the clean accuracy at the end, in points"
CLAIMS = (
    Claim(
        number=1,
        text="One batch of a slightly different distribution per epoch makes a directly encoded "
        "network trained by BPTT collapse.",
        where="Observation 1, Figure 1",
        measured=f"SGD, c/+p_0, 1 batch: {_LOST}",
        correct=lambda lines: _half_lost(lines, "sgd", "c", ["c/+p_0, 1 batch"]),
        released=lambda lines: _half_lost(lines, "sgd", "c", ["c/+p_0, 1 batch, poison released"]),
        tables=("3",),
    ),
    Claim(
        number=2,
        text="It collapses whichever epoch the batch first enters at.",
        where="Section 3.1, Figure 2",
        measured=f"SGD, c/+p_k, 1 batch, the first epoch with the least effect: {_LOST}",
        correct=lambda lines: _half_lost(lines, "sgd", "c", _onsets(lines, "c", "p")),
        tables=("3",),
    ),
    Claim(
        number=3,
        text="It collapses in the other direction too: one clean batch within adversarial "
        "training.",
        where="Figures 1 and 2",
        measured=f"SGD, p/+c_0, 1 batch: {_LOST}",
        correct=lambda lines: _half_lost(lines, "sgd", "p", ["p/+c_0, 1 batch"]),
        tables=("3",),
    ),
    Claim(
        number=4,
        text="The Hessian's spectral radius grows with the number of time steps.",
        where="Equations 6 to 11",
        measured="SGD, BPTT, direct coding: exponent of the radius in T, the lesser of networks "
        "trained at each T and of one network's weights at each T; 1 is linear growth",
        correct=_growth,
        tables=("growth",),
    ),
    Claim(
        number=5,
        text="The leading gradient component is the sharp direction, so that DEP's step meets less "
        "curvature.",
        where="Equations 16 to 18",
        measured="SGD's network: the lesser of the share of curvature that DEP's step saves, and "
        "the cosine of removed to sharpest minus one half",
        correct=_less_curvature,
        tables=("2",),
    ),
    Claim(
        number=6,
        text="DEP lowers the spectral radius on clean, FGSM and PGD batches.",
        where="Table 2",
        measured="SGD's radius minus DEP's in percent of SGD's, the least of the three kinds",
        correct=_lower_radius,
        tables=("2",),
    ),
    Claim(
        number=7,
        text="With DEP no hetero-training collapses fully, up to 5 batches an epoch.",
        where="Table 3",
        measured="DEP: clean accuracy at the end minus half of what was learnt without poison, in "
        "points, the worst count and direction",
        correct=lambda lines: _kept(lines, PIXEL),
        released=lambda lines: _kept(lines, BY_RELEASED),
        tables=("3",),
    ),
    Claim(
        number=8,
        text="DEP raises white-box robustness in clean training above StoG, DLIF, HoSNN and FEEL.",
        where="Table 1, upper half",
        measured="DEP minus the best of those, worst-case accuracy in points (released: FGSM)",
        correct=_above_rivals(("worst-case accuracy (%)",), "c"),
        released=_above_rivals(("released code's FGSM accuracy (%)",), "c"),
        tables=("1",),
    ),
    Claim(
        number=9,
        text="And in adversarial training.",
        where="Table 1, lower half",
        measured="DEP minus the best of those, worst-case accuracy in points (released: FGSM)",
        correct=_above_rivals(("worst-case accuracy (%)",), "p"),
        released=_above_rivals(("released code's FGSM accuracy (%)",), "p"),
        tables=("1",),
    ),
    Claim(
        number=10,
        text="It raises black-box robustness at every radius.",
        where="Figure 3",
        measured="DEP minus SGD under transferred FGSM and PGD, in points, the least of all radii",
        correct=_black_box,
        tables=("4",),
    ),
    Claim(
        number=11,
        text="Its robustness is no gradient obfuscation.",
        where="Table 4, Figures 3 and 4",
        measured="one half minus the number of signs of obfuscation that DEP's network shows",
        correct=_no_sign,
        tables=("4",),
    ),
    Claim(
        number=12,
        text="It costs 1 to 5 points of clean accuracy.",
        where="Section 5",
        measured="5 points minus what clean accuracy loses from SGD to DEP; training time is in "
        "the benchmarks",
        correct=_cheap,
        tables=("1",),
    ),
)


def judge(lines: Sequence[Line]) -> list[dict]:
    """The verdict on each claim from the lines of all tables, for each data set.

    Returns:
        List of dictionaries of `number`, `dataset`, `verdict`, `correct` and `released`, each of
        the latter two `None` or a dictionary of `mean`, `interval` and `n`.
    """
    datasets = dict.fromkeys(line.dataset for line in lines)
    by_dataset: Mapping[str, Lines] = {
        name: Lines(lines=[line for line in lines if line.dataset == name]) for name in datasets
    }
    found = []
    for claim in CLAIMS:
        for dataset, several in by_dataset.items():
            correct = _difference(claim.correct(several))
            released = _difference(claim.released(several)) if claim.released else None
            found.append(
                {
                    "number": claim.number,
                    "dataset": dataset,
                    "verdict": verdict(correct, released),
                    "correct": _record(correct),
                    "released": _record(released),
                }
            )
    return found


def _difference(values: BY_SEED) -> Difference | None:
    return Difference(values=tuple(values.values())) if values else None


def _record(difference: Difference | None) -> dict | None:
    if difference is None:
        return None
    interval = list(difference.interval)
    return {"mean": difference.mean, "interval": interval, "n": len(difference.values)}
