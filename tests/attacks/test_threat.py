"""Limits of a threat, asked through the attacks that set them."""

import pytest

from keras_dep.attacks import FGSM
from keras_dep.attacks import PGD


@pytest.mark.parametrize(
    "attack, options, message",
    [
        (FGSM, dict(epsilon=8), r"epsilon must lie in \[0, 1\].*received 8.*8/255"),
        (PGD, dict(epsilon=-0.1), r"epsilon must lie in \[0, 1\].*received -0.1"),
        (PGD, dict(epsilon=float("nan")), r"epsilon must lie in \[0, 1\].*received nan"),
        (PGD, dict(steps=0), "steps must be at least 1; received 0"),
        (PGD, dict(restarts=0), "restarts must be at least 1; received 0"),
        (PGD, dict(restarts=2, random_start=False), "restarts=2 repeats.*random_start=True"),
        (PGD, dict(step_size=2.0), r"step_size must lie in \[0, 1\]; received 2"),
    ],
    ids=str,
)
def test_bad_arguments(attack, options, message):
    with pytest.raises(ValueError, match=message) as raised:
        attack(**options)
    assert "\n" not in str(raised.value)
