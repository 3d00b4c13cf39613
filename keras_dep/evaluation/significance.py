"""Whether chance explains a count: exact tests, for counts too small for intervals."""

import math


def above(count, trials, limit):
    """Probability of at least so many successes if their rate were `limit`.

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
    if not 0 <= count <= trials or not 0 < limit < 1:
        raise ValueError(
            "count must lie in [0, trials] and limit in (0, 1); received "
            f"{count} of {trials} and {limit}."
        )
    return min(1.0, math.fsum(_probability(k, trials, limit) for k in range(count, trials + 1)))


def _probability(count, trials, rate):
    # By logarithms: the binomial coefficient of thousands has no float.
    choices = math.lgamma(trials + 1) - math.lgamma(count + 1) - math.lgamma(trials - count + 1)
    return math.exp(choices + count * math.log(rate) + (trials - count) * math.log1p(-rate))
