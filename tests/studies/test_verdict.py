"""The rule of verdicts, case by case."""

import math

import numpy as np
import pytest
from scipy import stats

from keras_dep.studies import verdict
from keras_dep.studies.verdict import Difference

UP, DOWN, BOTH = (1.0, 1.1, 0.9), (-1.0, -1.1, -0.9), (1.0, -1.0, 0.1)
FEW = (1.0, 1.01)


@pytest.mark.parametrize(
    "correct, released, expected",
    [
        (UP, None, verdict.STANDS),
        (UP, DOWN, verdict.STANDS),
        (UP, UP, verdict.STANDS),
        (DOWN, UP, verdict.RELEASED_ONLY),
        (BOTH, UP, verdict.RELEASED_ONLY),
        (None, UP, verdict.OPEN),
        (FEW, UP, verdict.OPEN),
        (DOWN, None, verdict.REVERSED),
        (DOWN, BOTH, verdict.REVERSED),
        (DOWN, FEW, verdict.REVERSED),
        (BOTH, None, verdict.OPEN),
        (FEW, None, verdict.OPEN),
        ((1.0,), None, verdict.OPEN),
        (BOTH, DOWN, verdict.OPEN),
        (None, DOWN, verdict.OPEN),
        (None, None, verdict.NOT_TESTED),
    ],
)
def test_every_case(correct, released, expected):
    given = [
        None if values is None else Difference(values=values) for values in (correct, released)
    ]
    assert verdict.verdict(*given) == expected


def test_an_interval_is_that_of_a_t_test():
    values = np.random.default_rng(0).normal(1, 2, size=5)
    wanted = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    np.testing.assert_allclose(Difference(values=tuple(values)).interval, wanted)
    assert Difference(values=(1.0,)).interval == (-math.inf, math.inf)
    assert Difference(values=(0.5, 0.5, 0.5)).interval == (0.5, 0.5)
