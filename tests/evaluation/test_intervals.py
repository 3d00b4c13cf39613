"""Wilson's interval against SciPy's."""

import numpy as np
import pytest
from scipy import stats

from keras_dep.evaluation import wilson


@pytest.mark.parametrize("trials", [1, 7, 100, 10000])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.999])
def test_equals_scipy(trials, confidence):
    for successes in {0, 1, trials // 3, trials - 1, trials}:
        peer = stats.binomtest(successes, trials).proportion_ci(confidence, method="wilson")
        np.testing.assert_allclose(wilson(successes, trials, confidence), peer, atol=1e-12)


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
