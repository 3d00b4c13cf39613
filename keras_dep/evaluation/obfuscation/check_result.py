"""A row of the checklist: what was measured, and whether chance explains what speaks for it."""

from keras_dep.evaluation import significance
from keras_dep.evaluation.intervals import wilson


def row(sign, criterion, measured, excesses=(), facts=()):
    """One sign, measured.

    Args:
        sign: what the row is about.
        criterion: when it is passed, in words.
        measured: dictionary of plain values.
        excesses: what `beyond` and `outdone` found; none may be significant.
        facts: booleans that must hold whatever the sample.

    Returns:
        Dictionary; the checklist adds `number` and `passed`.
    """
    return {
        "sign": sign,
        "criterion": criterion,
        "measured": measured,
        "evidence": list(excesses),
        "facts": all(facts),
    }


def inapplicable(sign, criterion, **measured):
    """A sign that cannot be measured on this model."""
    return {**row(sign, criterion, measured), "facts": None}


def beyond(what, count, of, limit):
    """A count that should be at most the share `limit` of its images."""
    count, of = int(count), int(of)
    return {
        "what": what,
        "count": count,
        "of": of,
        "limit": limit,
        "interval": list(wilson(count, of)) if of else [0.0, 1.0],
        "p_value": significance.above(count, of, limit),
    }


def outdone(what, weaker, stronger):
    """Images that only the attack meant to be weaker breaks, among those that only one breaks.

    Args:
        what: their name.
        weaker: boolean array, images standing under it.
        stronger: the same of the other attack.

    Source: McNemar 1947, in its exact form.
    """
    alone, other = int((stronger & ~weaker).sum()), int((weaker & ~stronger).sum())
    return beyond(what, alone, alone + other, 0.5)


def is_passed(found, level):
    """Whether a row is passed at a level of significance; `None` where it cannot be measured."""
    if found["facts"] is None:
        return None
    # Who looks in several places finds something in one of them.
    share = level / max(len(found["evidence"]), 1)
    passed = found["facts"] and all(each["p_value"] >= share for each in found["evidence"])
    # What was left out might have failed it.
    return None if passed and "left_out" in found["measured"] else passed
