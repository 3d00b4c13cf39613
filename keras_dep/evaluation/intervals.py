"""Confidence intervals of measured accuracies."""

import math
import statistics


def wilson(successes, trials, confidence=0.95):
    """Wilson's score interval of a binomial proportion, without continuity correction.

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
    if not 0 <= successes <= trials or trials < 1:
        raise ValueError(
            f"successes must lie in [0, trials] with trials >= 1; received {successes} of {trials}."
        )
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie in (0, 1); received {confidence}; 0.95 is usual.")
    z = statistics.NormalDist().inv_cdf(0.5 + confidence / 2)
    share, square = successes / trials, z * z / trials
    centre = share + square / 2
    half = z * math.sqrt(share * (1 - share) / trials + square / (4 * trials))
    low, high = (centre - half) / (1 + square), (centre + half) / (1 + square)
    # Rounding must not leave the ends of the range.
    return (0.0 if not successes else low), (1.0 if successes == trials else high)
