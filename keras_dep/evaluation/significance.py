"""Exact tests of whether chance explains a count, for counts too small for intervals."""


def above(count: int, trials: int, limit: float) -> float:
    """Returns the probability of at least `count` successes if their rate were `limit`.

    Args:
        count: successes seen, 0 to `trials`.
        trials: number of trials, 0 included.
        limit: rate in (0, 1).

    Returns:
        One-sided p-value of the exact binomial test, in (0, 1].

    Raises:
        ValueError: an argument outside its limits.

    Example:

    >>> round(above(2, 32, 0.01), 3)
    0.041
    """
    # SciPy takes a second to import, and most runs do not need it.
    from scipy import stats

    if not 0 <= count <= trials or not 0 < limit < 1:
        raise ValueError(
            "count must lie in [0, trials] and limit in (0, 1); received "
            f"{count} of {trials} and {limit}."
        )
    return float(stats.binom.sf(count - 1, trials, limit))
