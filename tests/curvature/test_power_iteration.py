"""Power iteration on known spectra, and against a transcription of the published algorithm."""

import numpy as np
import pytest

from keras_dep.curvature import power_iteration
from tests.support.matrices import COMPETING
from tests.support.matrices import DECAYING
from tests.support.matrices import product
from tests.support.matrices import symmetric


def test_signed_eigenvalues_where_they_stand_apart():
    found = power_iteration(product(symmetric(DECAYING)), 40, count=3, tolerance=1e-6)
    np.testing.assert_allclose(found.eigenvalues, [50, -20, 10], rtol=1e-3)
    assert found.largest[0] == found.eigenvalues[0]
    assert found.smallest[0] == found.eigenvalues[1]


def test_residuals_bound_the_distance_where_the_rule_stops_early():
    found = power_iteration(product(symmetric(COMPETING)), 40, count=2)
    assert abs(found.eigenvalues[0] - 7) > 0.05
    for value, residual in zip(found.eigenvalues, found.residuals):
        assert np.min(np.abs(COMPETING - value)) <= residual + 1e-4


def test_equals_the_published_algorithm_step_by_step():
    matrix = symmetric(COMPETING, seed=2)
    starts = np.random.default_rng(5).standard_normal((3, 40)).astype("float32")
    expected, vectors, products = [], [], 0
    for start in starts.astype("float64"):
        v, value = start / (np.linalg.norm(start) + 1e-6), None
        for _ in range(30):
            for q in vectors:
                v = v - (v @ q) * q
            v = v / (np.linalg.norm(v) + 1e-6)
            image = matrix @ v
            new, v = image @ v, image / (np.linalg.norm(image) + 1e-6)
            products += 1
            if value is not None and abs(value - new) / (abs(value) + 1e-6) < 1e-3:
                break
            value = new
        expected.append(value)
        vectors.append(v)
    found = power_iteration(product(matrix), 40, count=3, max_steps=30, starts=starts)
    np.testing.assert_allclose(found.eigenvalues, expected, rtol=1e-4)
    assert found.products == products


def test_edges():
    assert power_iteration(product(np.zeros((2, 2), "float32")), 2).eigenvalues.tolist() == [0, 0]
    with pytest.raises(ValueError, match="not finite"):
        power_iteration(product(np.full((3, 3), np.inf, "float32")), 3)
