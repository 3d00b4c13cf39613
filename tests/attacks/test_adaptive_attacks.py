"""APGD and SA-PGD against brute force and pseudocode on a linear model, and their duties."""

import itertools

import keras
import numpy as np
import pytest
from keras import ops

from keras_dep.attacks import APGD
from keras_dep.attacks import SAPGD
from keras_dep.attacks.adaptive import stages
from keras_dep.attacks.randomness import image_draws
from tests.attacks.test_gradient_attacks import CLASSES
from tests.attacks.test_gradient_attacks import linear
from tests.attacks.test_gradient_attacks import linear_gradient
from tests.attacks.test_gradient_attacks import logits
from tests.attacks.test_gradient_attacks import problem
from tests.support.stateful import everything
from tests.support.stateful import spiking

EPSILON = 0.15


def transcribed(start, x, y, kernel, bias, steps):
    """SA-PGD of the published pseudocode, image by image in float64."""
    result = []
    for image, begin, label in zip(x.astype("float64"), start.astype("float64"), y):
        here, stored, size = begin, None, EPSILON
        k, least = max(int(0.22 * steps), 1), max(int(0.06 * steps), 1)
        m, v, count = 0.0, 0.0, 0
        best, best_loss = None, -np.inf
        for number in range(steps + 1):
            scores = logits(kernel, bias, here[None])[0]
            loss = np.log(np.exp(scores).sum()) - scores[label]
            if scores.argmax() != label:
                stored = here
            if loss > best_loss:
                best, best_loss = here, loss
            if number == steps:
                break
            g = linear_gradient(kernel, bias, here[None], np.array([label]))[0]
            m = 0.5 * m + g / np.abs(g).mean()
            v = 0.8 * v + g**2 / (g**2).mean()
            here = here + np.clip(size * m / (np.sqrt(v) + 1e-12), -size, size)
            here = np.clip(here, np.maximum(image - EPSILON, 0), np.minimum(image + EPSILON, 1))
            count += 1
            if count == k:
                size, count, k = size / 2, 0, max(k - max(int(0.03 * steps), 1), least)
        result.append(best if stored is None else stored)
    return np.stack(result)


def first_points(x, seed):
    draw = np.stack([each.uniform(-1, 1, x.shape[1:]) for each in image_draws(x, seed)])
    stretched = EPSILON * draw / np.abs(draw).max(axis=1, keepdims=True)
    return np.clip(x + stretched.astype("float32"), 0, 1)


@pytest.mark.parametrize("steps", [1, 20, 50])
def test_sapgd_equals_its_pseudocode(steps):
    model, kernel, bias = linear()
    x, y = problem()
    found = SAPGD(epsilon=EPSILON, steps=steps, seed=5)(model, x, y)
    expected = transcribed(first_points(x, [5, 0]), x, y, kernel, bias, steps)
    fooled = logits(kernel, bias, found).argmax(axis=1) != y
    assert 0 < fooled.mean() < 1
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_stages_of_a_hundred_and_of_fifty_steps():
    ends = {n: list(itertools.accumulate(itertools.islice(stages(n), 8))) for n in (100, 50)}
    assert ends[100] == [22, 41, 57, 70, 80, 87, 93, 99]
    assert ends[50][:5] == [11, 21, 30, 38, 45]
    assert list(itertools.islice(stages(1), 3)) == [1, 1, 1]


@pytest.mark.parametrize("attack", [APGD, SAPGD])
@pytest.mark.parametrize("loss", ["ce", "dlr"])
def test_finds_the_corner_that_is_worst_for_a_linear_model(attack, loss):
    """Brute force over the corners of the ball is exact for two classes of a linear model."""
    model, kernel, bias = linear()
    x, y = problem()
    found = attack(epsilon=EPSILON, steps=60, loss=loss, restarts=2)(model, x, y)
    fooled = logits(kernel, bias, found).argmax(axis=1) != y
    corners = np.array(list(itertools.product([-EPSILON, EPSILON], repeat=x.shape[1])))
    every = np.clip(x[:, None].astype("float64") + corners, 0, 1)
    possible = ((every @ kernel + bias).argmax(axis=2) != y[:, None]).any(axis=1)
    assert not (fooled & ~possible).any()
    assert fooled.sum() >= possible.sum() - 1 and 0 < possible.mean() < 1


@pytest.mark.parametrize("attack", [APGD, SAPGD])
def test_inside_the_ball_and_the_model_as_before(attack):
    keras.utils.set_random_seed(1)
    model = spiking()
    x, y = problem(count=4, shape=(4, 4, 2))
    before = everything(model)
    found = attack(epsilon=8 / 255, steps=6)(model, x, y)
    assert everything(model) == before
    assert np.abs(found - x).max() <= 8 / 255 + 1e-6 and found.min() >= 0 and found.max() <= 1
    again = attack(epsilon=8 / 255, steps=6)(model, x, y)
    np.testing.assert_array_equal(found, again)
    assert (found != attack(epsilon=8 / 255, steps=6, seed=1)(model, x, y)).any()
    np.testing.assert_array_equal(attack(epsilon=0, steps=2)(model, x, y), x)


@pytest.mark.parametrize("attack", [APGD, SAPGD])
def test_restarts_never_lose_an_image(attack):
    model, kernel, bias = linear()
    x, y = problem()
    one, three = (attack(epsilon=0.08, steps=3, restarts=n)(model, x, y) for n in (1, 3))
    fooled = [logits(kernel, bias, found).argmax(axis=1) != y for found in (one, three)]
    assert not (fooled[0] & ~fooled[1]).any()


@pytest.mark.parametrize("attack", [APGD, SAPGD])
def test_zero_and_non_finite_gradients_are_survived(attack):
    x, y = problem(count=3)
    flat = keras.Sequential([keras.Input(x.shape[1:]), keras.layers.Dense(CLASSES)])
    flat.set_weights([np.zeros((x.shape[1], CLASSES), "float32"), np.arange(4).astype("float32")])
    found = attack(epsilon=0.1, steps=5)(flat, x, y)
    assert np.isfinite(found).all() and np.abs(found - x).max() <= 0.1 + 1e-6
    root = keras.layers.Lambda(lambda v: ops.sqrt(v - v) + v)
    broken = keras.Sequential([keras.Input(x.shape[1:]), root, keras.layers.Dense(CLASSES)])
    assert np.isfinite(attack(epsilon=0.1, steps=5)(broken, x, y)).all()


def test_bad_input():
    with pytest.raises(
        ValueError, match="loss must be one of ce, first_step, tet, margin, dlr; received 'cw'"
    ):
        APGD(loss="cw")
    with pytest.raises(ValueError, match="steps must be at least 1; received 0"):
        SAPGD(steps=0)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="needs at least 3 classes; received 2; use 'ce'"):
        APGD(loss="dlr")(model, problem()[0], np.zeros(32, "int32"))
