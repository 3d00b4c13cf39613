"""Lanczos on matrices whose spectrum is known."""

import numpy as np
import pytest
from keras import ops

from keras_dep.curvature import lanczos
from tests.support.matrices import COMPETING
from tests.support.matrices import MIXED
from tests.support.matrices import product
from tests.support.matrices import symmetric


@pytest.mark.parametrize(
    "values",
    [MIXED, -np.geomspace(1e-3, 10, 40), COMPETING],
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


@pytest.mark.parametrize("which, order", [("largest", -1), ("smallest", 1)])
def test_algebraic_ends(which, order):
    found = lanczos(product(symmetric(COMPETING)), 40, count=3, tolerance=1e-4, which=which)
    np.testing.assert_allclose(found.eigenvalues, np.sort(COMPETING)[::order][:3], rtol=1e-3)
    for (value, residual), expected in ((found.largest, 7.0), (found.smallest, -6.9)):
        assert abs(value - expected) <= residual + 1e-4
        assert residual < 0.1


def test_eigenvectors():
    matrix = symmetric(COMPETING)
    found = lanczos(product(matrix), 40, count=4, tolerance=1e-4, vectors=True)
    vectors = np.stack([ops.convert_to_numpy(vector) for vector in found.vectors])
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(4), atol=1e-4)
    for value, residual, vector in zip(found.eigenvalues, found.residuals, vectors):
        assert np.linalg.norm(matrix @ vector - value * vector) <= residual + 1e-4
    assert lanczos(product(matrix), 40).vectors is None


def test_the_ratio_as_printed_is_no_share():
    values = np.array([10.0, -9.0, 1.0, -0.5, -0.5])
    found = lanczos(product(symmetric(values)), 5, count=4)
    assert found.printed_ratio == pytest.approx(10 / 1.5, rel=1e-3)
    assert found.leading_share == pytest.approx(10 / 20.5, rel=1e-3)


def test_a_space_that_closes_early_is_left():
    """A multiple of the identity, and a projector, close it after one and two products."""
    np.testing.assert_allclose(
        lanczos(lambda vector: 3.0 * vector, 6, count=4).eigenvalues, [3.0] * 4, rtol=1e-5
    )
    projector = symmetric(np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0]))
    found = lanczos(product(projector), 6, count=6)
    np.testing.assert_allclose(found.eigenvalues, [1, 1, 1, 0, 0, 0], atol=1e-5)


def test_the_start_vector_is_the_seeds():
    def run(seed):
        return lanczos(product(symmetric(MIXED)), 40, max_steps=5, seed=seed).eigenvalues

    np.testing.assert_array_equal(run(3), run(3))
    assert np.abs(run(3) - run(4)).max() > 1e-3


def test_edges():
    assert lanczos(product(np.array([[-2.0]], "float32")), 1).eigenvalues.tolist() == [-2.0]
    zero = lanczos(product(np.zeros((4, 4), "float32")), 4)
    assert zero.radius == 0 and zero.leading_share == 0
    assert len(lanczos(product(symmetric(np.array([1.0, 2.0]))), 2, count=5).eigenvalues) == 2
    with pytest.raises(ValueError, match="not finite"):
        lanczos(product(np.full((3, 3), np.nan, "float32")), 3)
    with pytest.raises(ValueError, match="which must be one of magnitude, largest, smallest"):
        lanczos(product(np.eye(3, dtype="float32")), 3, which="top")
    with pytest.raises(ValueError, match="at least 1"):
        lanczos(product(np.eye(3, dtype="float32")), 3, count=0)
