"""Traces of matrices that are known."""

import numpy as np
import pytest

from keras_dep.curvature import hutch_plus_plus
from tests.support.matrices import DECAYING
from tests.support.matrices import MIXED
from tests.support.matrices import product
from tests.support.matrices import symmetric


def test_exact_for_a_matrix_of_low_rank():
    values = np.zeros(40)
    values[:4] = [5, -3, 2, 1]
    found = hutch_plus_plus(product(symmetric(values)), 40, products=21)
    assert found.value == pytest.approx(5, abs=1e-3)
    assert found.error < 1e-3


def test_exact_where_the_sketch_fills_the_space():
    found = hutch_plus_plus(product(symmetric(MIXED[:6])), 6, products=30)
    assert found.value == pytest.approx(MIXED[:6].sum(), abs=1e-4)
    assert (found.error, found.products) == (0.0, 12)


def test_the_error_is_the_spread_of_the_estimates():
    matrix = product(symmetric(DECAYING))
    found = [hutch_plus_plus(matrix, 40, products=18, seed=seed) for seed in range(40)]
    values = np.array([trace.value for trace in found])
    error = np.mean([trace.error for trace in found])
    assert abs(values.mean() - DECAYING.sum()) < 3 * values.std() / 40**0.5
    assert 0.5 < error / values.std() < 2
    assert all(trace.products == 18 for trace in found)


def test_bad_input():
    with pytest.raises(ValueError, match="products must be at least 3; received 2"):
        hutch_plus_plus(product(np.eye(2, dtype="float32")), 2, products=2)
