"""Wilson's interval by what defines it: the rates that the score test just does not reject."""

import math
import statistics

import pytest

from keras_dep.evaluation import wilson


@pytest.mark.parametrize("trials", [1, 7, 100, 10000])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.999])
def test_ends_are_where_the_score_test_turns(trials, confidence):
    z = statistics.NormalDist().inv_cdf(0.5 + confidence / 2)
    for successes in {0, 1, trials // 3, trials - 1, trials}:
        low, high = wilson(successes, trials, confidence)
        share = successes / trials
        assert 0 <= low <= share <= high <= 1
        for end, clipped in ((low, 0.0), (high, 1.0)):
            spread = math.sqrt(end * (1 - end) / trials)
            assert end == clipped == share or abs(share - end) == pytest.approx(z * spread)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((3, 2), r"successes must lie in \[0, trials\].*received 3 of 2"),
        ((0, 0), "trials >= 1; received 0 of 0"),
        ((1, 2, 1.0), r"confidence must lie in \(0, 1\); received 1.0"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        wilson(*arguments)
