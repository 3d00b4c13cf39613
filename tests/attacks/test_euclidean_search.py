"""Square and random points in the L2 ball: what they draw, and that they find what is there."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from keras_dep.attacks import RandomSearch
from keras_dep.attacks import Square
from keras_dep.attacks import square_l2
from tests.attacks.test_black_box import broken
from tests.attacks.test_black_box import problem


def length(change):
    return np.sqrt(np.square(change.astype("float64")).sum(axis=tuple(range(1, change.ndim))))


@settings(max_examples=10)
@given(
    rows=st.integers(4, 12),
    columns=st.integers(4, 12),
    channels=st.integers(1, 4),
    side=st.integers(1, 12),
    seed=st.integers(0, 2**31),
)
def test_changes_have_the_length_that_is_theirs(rows, columns, channels, side, seed):
    draw, shape = np.random.default_rng(seed), (rows, columns, channels)
    change = square_l2.first_bumps(draw, shape, 0.7)
    assert length(change[None]) == pytest.approx(0.7, rel=1e-5)
    side = square_l2.odd_side(side, shape[:2])
    assert side <= min(shape[:2])
    moved = square_l2.moved_bump(draw, 0.5 * change, np.float32(0.7), side)
    assert moved.dtype == np.float32 and length(moved[None]) == pytest.approx(0.7, rel=1e-5)


def test_a_bump_is_a_peak_beside_a_trough():
    assert square_l2.bump(1).tolist() == [[-1]]
    shape = square_l2.bump(7)
    assert np.square(shape).sum() == pytest.approx(1, rel=1e-6)
    assert (shape[:3] > 0).all() and (shape[3:] < 0).all()
    # Rings of the peak, three by seven around (1, 3), add up 1, 1/4, 1/9 and 1/16 from outside.
    rings = np.cumsum([1 / 16, 1 / 9, 1 / 4, 1])
    np.testing.assert_allclose(shape[1, :4] / shape[1, 3], rings / rings[-1], rtol=1e-5)
    assert square_l2.odd_side(2, (9, 9)) == 3 and square_l2.odd_side(6, (9, 9)) == 7
    assert square_l2.odd_side(9, (8, 9)) == 8


def test_square_nears_the_worst_point_without_a_gradient():
    model, weights, x, y = problem()
    radius = 0.4
    worst = x + radius * (weights / np.linalg.norm(weights))[..., None]
    possible = broken(weights, worst)
    found = {n: Square(epsilon=radius, queries=n, norm="L2")(model, x, y) for n in (2, 400)}
    few, many = (broken(weights, found[n]) for n in (2, 400))
    assert few.sum() < many.sum() and 0.6 * possible.sum() <= many.sum()
    assert not (many & ~possible).any() and possible.sum() < len(x)
    for each in found.values():
        assert each.min() >= 0 and each.max() <= 1 and length(each - x).max() <= radius * (1 + 1e-5)
    assert length(found[400] - x).min() > 0.95 * radius
    np.testing.assert_array_equal(Square(epsilon=0.0, queries=3, norm="L2")(model, x, y), x)


def test_square_of_an_image_does_not_depend_on_its_batch():
    model, _, x, y = problem()
    attack = Square(epsilon=0.3, queries=6, norm="L2", seed=5)
    together = attack(model, x, y)
    np.testing.assert_allclose(attack(model, x[3:5], y[3:5]), together[3:5], atol=1e-6)
    assert np.abs(attack(model, x, y, seed=6) - together).max() > 0.01


def test_random_points_fill_the_ball_or_its_surface():
    x = np.random.default_rng(0).uniform(0.4, 0.6, (300, 3, 1, 1)).astype("float32")
    draws = [np.random.default_rng(number) for number in range(len(x))]
    for points, power in (("corners", None), ("uniform", 3)):
        attack = RandomSearch(epsilon=0.2, draws=1, points=points, norm="L2")
        offsets = np.stack([attack._offset(draw, x.shape[1:]) for draw in draws])
        away = length(offsets) / 0.2
        if power is None:
            np.testing.assert_allclose(away, 1, rtol=1e-6)
        else:
            # The cube of the distance is uniform; its mean to five standard errors.
            assert abs((away**power).mean() - 0.5) < 5 / np.sqrt(12 * len(x))
        assert np.abs(offsets.mean(axis=0) / 0.2).max() < 5 / np.sqrt(3 * len(x))
