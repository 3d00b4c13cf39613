"""Exact tests by their sums, and the checks that go by them."""

import fractions
import math
import types

import numpy as np
import pytest
from scipy import stats

from keras_dep.evaluation import significance
from keras_dep.evaluation.obfuscation import gradient
from keras_dep.evaluation.obfuscation.check_result import CheckResult
from keras_dep.evaluation.obfuscation.check_result import beyond
from keras_dep.evaluation.obfuscation.check_result import is_passed
from keras_dep.evaluation.obfuscation.check_result import outdone


@pytest.mark.parametrize("trials", [0, 1, 32, 300])
@pytest.mark.parametrize("limit", [0.0625, 0.5])
def test_equals_the_sum_over_all_counts(trials, limit):
    rate = fractions.Fraction(limit)
    for count in {0, min(1, trials), trials // 50, trials // 3, trials}:
        chances = (
            math.comb(trials, k) * rate**k * (1 - rate) ** (trials - k)
            for k in range(count, trials + 1)
        )
        found = significance.above(count, trials, limit)
        assert found == pytest.approx(float(sum(chances)), rel=1e-9)


def test_the_sign_test_equals_scipy():
    draw = np.random.default_rng(0)
    weaker, stronger = draw.random(100) < 0.4, draw.random(100) < 0.5
    alone, total = (stronger & ~weaker).sum(), (stronger != weaker).sum()
    expected = stats.binomtest(alone, total, alternative="greater").pvalue
    assert outdone("a", weaker, stronger)["p_value"] == pytest.approx(expected, rel=1e-9)
    assert outdone("a", weaker, weaker)["p_value"] == 1.0


@pytest.mark.parametrize("arguments", [(3, 2, 0.5), (-1, 2, 0.5), (1, 2, 0.0), (1, 2, 1.0)])
def test_bad_arguments(arguments):
    with pytest.raises(ValueError, match=r"count must lie in \[0, trials\] and limit in \(0, 1\)"):
        significance.above(*arguments)


def verdict(*evidence, facts=True):
    return is_passed(CheckResult("a name", "a criterion", {}, evidence, facts).record(), 0.01)


def test_a_check_fails_only_beyond_chance():
    # Of 32 images 2 above 1 % happen once in 24 times, 3 once in 270.
    assert verdict(beyond("a", 2, 32, 0.01)) and not verdict(beyond("a", 3, 32, 0.01))
    # The same share of more images is more.
    assert not verdict(beyond("a", 20, 320, 0.01))
    # Of ten pieces of evidence, one is found by chance.
    assert verdict(beyond("a", 3, 32, 0.01), *[beyond("b", 0, 32, 0.01)] * 9)
    assert not verdict(facts=False) and verdict(facts=True)


@pytest.mark.parametrize(
    "clean, along, randomly, passed",
    [
        (1, 3, 2, True),
        (1, 2, 3, False),
        (3, 2, 1, False),
    ],
)
def test_the_loss_must_rise_above_the_image_and_a_random_direction(
    clean, along, randomly, passed, monkeypatch
):
    losses = iter([clean, *[along] * len(gradient.PLACES), *[randomly] * len(gradient.PLACES)])
    monkeypatch.setattr(
        gradient, "_losses", lambda context, images: np.full(32, float(next(losses)))
    )
    monkeypatch.setattr(gradient, "_slopes", lambda context: np.ones((32, 2)))
    monkeypatch.setattr(gradient, "_corners", lambda context, count: iter([np.ones((32, 2))]))
    found = gradient.landscape(types.SimpleNamespace(images=np.zeros((32, 2)), epsilon=0.1))
    assert is_passed(found.record(), 0.01) is passed and next(losses, None) is None
