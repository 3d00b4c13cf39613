"""Confidence intervals of measured accuracies."""


def wilson(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Returns Wilson's score interval of a binomial proportion, without continuity correction.

    Args:
        successes: number of successes, 0 to `trials`.
        trials: number of trials, at least 1.
        confidence: probability that the interval covers the proportion, in (0, 1).

    Returns:
        `(low, high)`, within [0, 1].

    Raises:
        ValueError: an argument outside its limits.

    Source: Wilson 1927.

    Example:

    >>> [round(end, 3) for end in wilson(50, 100)]
    [0.404, 0.596]
    """
    # SciPy takes a second to import, and most runs do not need it.
    from scipy import stats

    if not 0 <= successes <= trials or trials < 1:
        raise ValueError(
            f"successes must lie in [0, trials] with trials >= 1; received {successes} of {trials}."
        )
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie in (0, 1); received {confidence}; 0.95 is usual.")
    interval = stats.binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)
