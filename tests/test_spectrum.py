"""Lanczos on matrices whose spectrum is known."""

import numpy as np
import pytest
from keras import ops

from keras_dep.spectrum import lanczos


def symmetric(values, seed=0):
    basis = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(values),) * 2))[0]
    return ((basis * values) @ basis.T).astype("float32")


def product(matrix):
    tensor = ops.convert_to_tensor(matrix)
    return lambda vector: ops.matmul(tensor, vector)


@pytest.mark.parametrize(
    "values",
    [
        np.linspace(-3, 5, 40),
        -np.geomspace(1e-3, 10, 40),
        np.concatenate([[7.0, -6.9, 5.0, -4.0, 3.0], np.linspace(-1, 1, 35)]),
    ],
    ids=["mixed", "negative", "competing"],
)
def test_signed_eigenvalues_of_largest_magnitude(values):
    found = lanczos(product(symmetric(values)), 40, count=3, tolerance=1e-4)
    expected = values[np.argsort(-np.abs(values))][:3]
    np.testing.assert_allclose(found.eigenvalues, expected, rtol=1e-3)
    assert found.radius == pytest.approx(np.abs(expected[0]), rel=1e-3)
    share = np.abs(expected[0]) / np.abs(expected).sum()
    assert found.leading_share == pytest.approx(share, rel=1e-3)


def test_residuals_bound_the_distance_to_an_eigenvalue():
    values = np.linspace(-3, 5, 60)
    found = lanczos(product(symmetric(values)), 60, count=5, max_steps=12, tolerance=0)
    assert found.products == 12
    for value, residual in zip(found.eigenvalues, found.residuals):
        assert np.min(np.abs(values - value)) <= residual + 1e-4


def test_edges():
    assert lanczos(product(np.array([[-2.0]], "float32")), 1).eigenvalues.tolist() == [-2.0]
    zero = lanczos(product(np.zeros((4, 4), "float32")), 4)
    assert zero.radius == 0 and zero.leading_share == 0
    assert len(lanczos(product(symmetric(np.array([1.0, 2.0]))), 2, count=5).eigenvalues) == 2
    with pytest.raises(ValueError, match="not finite"):
        lanczos(product(np.full((3, 3), np.nan, "float32")), 3)
    with pytest.raises(ValueError, match="at least 1"):
        lanczos(product(np.eye(3, dtype="float32")), 3, count=0)
