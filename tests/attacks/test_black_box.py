"""Attacks without a gradient against what is known in advance."""

import keras
import numpy as np
import pytest

from keras_dep.attacks import FGSM
from keras_dep.attacks import SPSA
from keras_dep.attacks import GaussianNoise
from keras_dep.attacks import RandomSearch
from keras_dep.attacks import Square
from keras_dep.attacks import Transfer
from keras_dep.attacks.randomness import image_draws
from keras_dep.attacks.square import draw_square
from keras_dep.attacks.square import draw_stripes
from keras_dep.attacks.square import layouts

SIDE = 6


def summing(weights):
    """Two classes: 0 where the weighted sum of the pixels is negative."""
    model = keras.Sequential([keras.Input((SIDE, SIDE, 1)), keras.layers.Flatten()])
    model.add(keras.layers.Dense(2))
    kernel = np.stack([-weights.ravel(), weights.ravel()], axis=1)
    model.set_weights([kernel.astype("float32"), np.zeros(2, "float32")])
    return model


def problem(count=12):
    """Grey images, of class 0 by a margin that a share of the corners crosses."""
    draw = np.random.default_rng(0)
    weights = draw.standard_normal((SIDE, SIDE))
    weights -= weights.mean()
    x = np.full((count, SIDE, SIDE, 1), 0.5, "float32")
    x = x - np.linspace(0.01, 0.2, count)[:, None, None, None] * np.sign(weights)[..., None]
    return summing(weights), weights, x.astype("float32"), np.zeros(count, "int32")


def broken(weights, x):
    return (x[..., 0] * weights).sum(axis=(1, 2)) > 0


def test_square_nears_the_worst_corner_without_a_gradient():
    model, weights, x, y = problem()
    worst = x + 0.1 * np.sign(weights)[..., None]
    possible = broken(weights, worst)
    few, many = (broken(weights, Square(epsilon=0.1, queries=n)(model, x, y)) for n in (2, 400))
    assert possible.sum() > many.sum() - 1 and many.sum() >= 0.7 * possible.sum() > few.sum()
    assert not (many & ~possible).any()


def test_spsa_follows_differences_along_random_signs():
    model, weights, x, y = problem()
    attack = SPSA(epsilon=0.1, step_size=0.02, steps=2, directions=3, spacing=0.05, seed=4)
    expected = x.astype("float64")
    draws = image_draws(x, 4)
    for _ in range(2):
        estimate = 0
        for _ in range(3):
            corner = np.stack([draw.choice([-1.0, 1.0], x.shape[1:]) for draw in draws])
            estimate += (corner[..., 0] * weights).sum(axis=(1, 2))[:, None, None, None] * corner
        expected = np.clip(expected + 0.02 * np.sign(estimate), x - 0.1, x + 0.1)
    np.testing.assert_allclose(attack(model, x, y), expected, atol=1e-6)
    many = SPSA(epsilon=0.1, step_size=0.1, steps=1, directions=300, loss="ce")(model, x, y)
    assert (np.sign(many - x)[..., 0] == np.sign(weights)).mean() > 0.85


def test_squares_and_stripes():
    draw = np.random.default_rng(0)
    stripes = draw_stripes(draw, (5, 7, 3))
    assert stripes.shape == (1, 7, 3) and set(np.unique(stripes)) == {-1, 1}
    corners = set()
    for _ in range(200):
        square = draw_square(draw, (5, 7, 3), 2)
        rows, columns = np.nonzero(square[:, :, 0])
        assert len(rows) == 4 and np.ptp(rows) == np.ptp(columns) == 1
        assert all(len(np.unique(square[rows, columns, channel])) == 1 for channel in range(3))
        corners.add((rows[0], columns[0]))
    # Every place, the last row and column included.
    assert len(corners) == 4 * 6


def test_sides_of_the_squares_shrink_as_published():
    attack = Square(queries=10000)
    places = (0, 10, 11, 51, 201, 501, 1001, 2001, 4001, 6001, 8001)
    shares = [0.8 / 2**power for power in (0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9)]
    expected = [max(round(np.sqrt(share * 32 * 32)), 1) for share in shares]
    assert [attack._side(place, (32, 32)) for place in places] == expected
    # Fewer queries run through the same schedule.
    assert Square(queries=100)._side(1, (32, 32)) == expected[3]


def test_random_corners_find_what_their_share_promises():
    model, weights, x, y = problem()
    found = RandomSearch(epsilon=0.3, draws=40)(model, x, y)
    # On its corners unless the pixel range cuts them.
    moved = np.abs(found - x)
    assert np.isin(np.round(moved, 5), [np.float32(0.3)]).mean() > 0.9
    uniform = RandomSearch(epsilon=0.3, draws=40, points="uniform")(model, x, y)
    assert 0 < broken(weights, uniform).sum() <= broken(weights, found).sum() < len(x)
    more = RandomSearch(epsilon=0.3, draws=80)(model, x, y)
    assert not (broken(weights, found) & ~broken(weights, more)).any()


def test_noise_has_the_given_deviation():
    x = np.random.default_rng(0).uniform(0.45, 0.55, (4, 50, 50, 1)).astype("float32")
    model = keras.Sequential([keras.Input((50, 50, 1)), keras.layers.Flatten()])
    model.add(keras.layers.Dense(2))
    noise = GaussianNoise(std=0.1)(model, x, np.zeros(4, "int32")) - x
    assert abs(noise.std() - 0.1) < 3 * 0.1 / np.sqrt(2 * noise.size) and np.abs(noise).max() > 0.3


def test_transfer_keeps_the_substitute_that_succeeds():
    model, weights, x, y = problem()
    wrong, right = summing(-weights), summing(weights)
    attack = FGSM(epsilon=0.15)
    alone = broken(weights, Transfer(attack, wrong)(model, x, y))
    both = Transfer(attack, [wrong, right])(model, x, y)
    assert not alone.any() and 0 < broken(weights, both).sum() < len(x)
    np.testing.assert_array_equal(both, attack(model, x, y))


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: Square(queries=0), "queries must be at least 1; received 0"),
        (lambda: Square(share=0), r"share must lie in \(0, 1\]; received 0"),
        (lambda: SPSA(directions=0), "directions must be at least 1; received 0"),
        (lambda: RandomSearch(draws=0), "draws must be at least 1; received 0"),
        (lambda: RandomSearch(points="edges"), "points must be one of corners, uniform; received"),
        (lambda: GaussianNoise(std=2), r"std must lie in \[0, 1\].*received 2"),
        (lambda: Transfer(FGSM(), []), "substitutes must be at least one model; received none"),
    ],
)
def test_bad_arguments(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
@pytest.mark.parametrize("shape", [(2, 4, 5, 3), (2, 7, 4, 5, 3)])
def test_maps_of_images_and_frames(shape, data_format):
    usual = keras.config.image_data_format()
    keras.config.set_image_data_format(data_format)
    try:
        pixels = np.random.default_rng(0).random(shape)
        as_map, as_given = layouts(shape)
        found = as_map(pixels)
        np.testing.assert_array_equal(as_given(found), pixels)
    finally:
        keras.config.set_image_data_format(usual)
    rows_and_columns = shape[-2:] if data_format == "channels_first" else shape[-3:-1]
    assert found.shape[:3] == (2, *rows_and_columns)


def test_square_moves_each_frame_by_itself():
    x = np.full((2, 3, SIDE, SIDE, 1), 0.5, "float32")
    model = keras.Sequential([keras.Input(x.shape[1:]), keras.layers.Flatten()])
    model.add(keras.layers.Dense(2, kernel_initializer="zeros", bias_initializer="ones"))
    model.layers[-1].bias.assign([1.0, 0.0])
    found = Square(epsilon=0.1, queries=3)(model, x, np.zeros(2, "int32"))
    np.testing.assert_allclose(np.abs(found - x), 0.1, atol=1e-6)
    assert (found[:, 0] != found[:, 1]).any()


def test_square_needs_rows_and_columns():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="needs images with rows, columns and channels; received"):
        Square()(model, np.zeros((2, 4), "float32"), np.zeros(2, "int32"))
