"""The result of one check: its measurements, and whether chance explains the evidence."""

import dataclasses
from collections.abc import Sequence

from keras_dep._internal.types import Array
from keras_dep._internal.types import Record
from keras_dep.evaluation import significance
from keras_dep.evaluation.intervals import wilson


@dataclasses.dataclass(frozen=True)
class CheckResult:
    """The result of a check for obfuscated gradients.

    Args:
        name: the symptom that the check looks for.
        criterion: when it is passed, in words.
        measured: dictionary of plain values.
        evidence: dictionaries from `beyond` and `outdone`; none may be significant.
        facts: whether the conditions hold that no sample may violate; `None` where the check does
            not apply to the model.

    Example:

    >>> result = CheckResult("a", "b", {"clean": 0.5}, [beyond("c", 2, 32, 0.01)])
    >>> is_passed(result.record(), 0.01)
    True
    """

    name: str
    criterion: str
    measured: Record
    evidence: Sequence[Record] = ()
    facts: bool | None = True

    def record(self) -> Record:
        """Returns the result as a dictionary; the checklist adds `number` and `passed`."""
        return {**dataclasses.asdict(self), "evidence": list(self.evidence)}


def inapplicable(name: str, criterion: str, **measured: object) -> CheckResult:
    """Returns the result of a check that does not apply to this model."""
    return CheckResult(name, criterion, measured, facts=None)


def beyond(what: str, count: int, of: int, limit: float) -> Record:
    """Returns the evidence of a count that should be at most the share `limit` of its images.

    Args:
        what: description of the counted images.
        count: the count.
        of: number of images it is counted on.
        limit: its largest share allowed, in (0, 1).

    Returns:
        Dictionary of `what`, `count`, `of`, `limit`, the 95 % Wilson `interval` of the share, and
        the `p_value` of an excess.
    """
    count, of = int(count), int(of)
    return {
        "what": what,
        "count": count,
        "of": of,
        "limit": limit,
        "interval": list(wilson(count, of)) if of else [0.0, 1.0],
        "p_value": significance.above(count, of, limit),
    }


def outdone(what: str, weaker: Array, stronger: Array) -> Record:
    """Returns the evidence of images that only the weaker attack breaks.

    It is their share of the images that exactly one of the two attacks breaks.

    Args:
        what: description of the counted images.
        weaker: boolean array, images that withstand the attack expected to be weaker.
        stronger: the same of the other attack.

    Returns:
        Dictionary as of `beyond`, with the limit 1/2.

    Source: McNemar 1947, in its exact form.
    """
    alone, other = int((stronger & ~weaker).sum()), int((weaker & ~stronger).sum())
    return beyond(what, alone, alone + other, 0.5)


def is_passed(result: Record, level: float) -> bool | None:
    """Decides a check at a level of significance.

    Args:
        result: what `CheckResult.record` gave.
        level: probability of failing a check whose criterion is just met.

    Returns:
        Whether it is passed; `None` where it does not apply, or where attacks that might have
        failed it were left out.
    """
    if result["facts"] is None:
        return None
    # Bonferroni correction.
    share = level / max(len(result["evidence"]), 1)
    passed = result["facts"] and all(each["p_value"] >= share for each in result["evidence"])
    return None if passed and "left_out" in result["measured"] else passed
