"""Moments and shape of densities against the eigenvalues they describe."""

import numpy as np
import pytest

from keras_dep.curvature import spectral_density
from keras_dep.curvature.density import plot
from tests.support.matrices import MIXED
from tests.support.matrices import product
from tests.support.matrices import symmetric


@pytest.fixture(scope="module")
def density():
    return spectral_density(product(symmetric(MIXED)), 40, vectors=30, steps=20)


def test_moments(density):
    for power, tolerance in ((0, 1e-6), (1, 0.3), (2, 1.0)):
        assert density.moment(power) == pytest.approx(np.mean(MIXED**power), abs=tolerance)


def test_each_vectors_moments_are_exact():
    """Quadrature: the first moments are those of the start vector's own spectral measure."""
    matrix = symmetric(MIXED).astype("float64")
    density = spectral_density(product(matrix.astype("float32")), 40, vectors=1, steps=4)
    draw = np.random.default_rng([0, 0]).standard_normal(40)
    start = draw / np.linalg.norm(draw)
    for power in range(8):
        expected = start @ np.linalg.matrix_power(matrix, power) @ start
        assert density.moment(power) == pytest.approx(expected, rel=1e-3, abs=1e-3)


def test_shape_is_that_of_the_widened_eigenvalues(density):
    points = np.linspace(-6, 8, 400)
    found = density.at(points, width=1.0)
    bells = np.exp(-0.5 * (points[:, None] - MIXED) ** 2) / (2 * np.pi) ** 0.5
    expected = bells.mean(axis=1)
    assert np.trapezoid(found, points) == pytest.approx(1, abs=1e-3)
    assert np.trapezoid(np.abs(found - expected), points) < 0.15
    low, high = density.limits()
    assert low == pytest.approx(-3, abs=0.1) and high == pytest.approx(5, abs=0.1)


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_plot(density, tmp_path, ending):
    plot({"one": density, "other": density}, tmp_path / f"density.{ending}")
    assert ending == "png" or "<!-- other -->" in (tmp_path / "density.svg").read_text()
    content = (tmp_path / f"density.{ending}").read_bytes()
    assert content.startswith(b"\x89PNG" if ending == "png" else b"<?xml") and len(content) > 5000
