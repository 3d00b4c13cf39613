"""Attacks in the L2 ball against closed form, and the ball itself."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
from keras import ops

from keras_dep import FGSM
from keras_dep import PGD
from keras_dep.attacks import APGD
from keras_dep.attacks import APGDT
from keras_dep.attacks import BIM
from keras_dep.attacks import MIFGSM
from keras_dep.attacks import SAPGD
from keras_dep.attacks import SPSA
from keras_dep.attacks import RandomSearch
from keras_dep.attacks import Threat
from keras_dep.attacks.randomness import random_offset
from tests.attacks.test_gradient_attacks import linear
from tests.attacks.test_gradient_attacks import linear_gradient
from tests.attacks.test_gradient_attacks import logits
from tests.attacks.test_gradient_attacks import problem

BUILDERS = {
    "fgsm": lambda e, **o: FGSM(epsilon=e, norm="L2", **o),
    "bim": lambda e, **o: BIM(epsilon=e, step_size=e / 2, steps=3, norm="L2", **o),
    "pgd": lambda e, **o: PGD(epsilon=e, step_size=e / 2, steps=3, norm="L2", restarts=2, **o),
    "mifgsm": lambda e, **o: MIFGSM(epsilon=e, step_size=e / 2, steps=3, norm="L2", **o),
    "apgd": lambda e, **o: APGD(epsilon=e, steps=5, norm="L2", **o),
    "apgdt": lambda e, **o: APGDT(epsilon=e, steps=3, classes=2, norm="L2", **o),
    "spsa": lambda e, **o: SPSA(epsilon=e, step_size=e / 2, steps=2, directions=2, norm="L2", **o),
    "surface": lambda e, **o: RandomSearch(epsilon=e, draws=3, norm="L2", **o),
    "uniform": lambda e, **o: RandomSearch(epsilon=e, draws=3, points="uniform", norm="L2", **o),
}


@pytest.fixture(scope="module")
def model():
    return linear()


def length(offset):
    return np.sqrt(np.square(offset.astype("float64")).sum(axis=1))


@pytest.mark.parametrize("name", BUILDERS)
@settings(max_examples=4)
@given(epsilon=st.floats(0, 3), seed=st.integers(0, 2**31))
def test_inside_ball_and_range(model, name, epsilon, seed):
    x, y = problem(-0.3, 1.3)
    x = x.clip(0, 1)
    found = BUILDERS[name](epsilon)(model[0], x, y, seed=seed)
    assert found.dtype == np.float32 and found.min() >= 0 and found.max() <= 1
    # Each of the six pixels is rounded once, and the scale to the ball.
    assert (length(found - x) <= epsilon * (1 + 1e-6) + 6 * np.spacing(np.float32(1))).all()


@pytest.mark.parametrize("name", BUILDERS)
def test_epsilon_zero_returns_the_input_bit_for_bit(model, name):
    x, y = problem()
    x[:2], x[2:4] = 0, 1
    assert BUILDERS[name](0.0)(model[0], x, y).tobytes() == x.tobytes()


def unit(vectors):
    return vectors / length(vectors)[:, None]


def onto_ball(candidate, x, epsilon):
    offset = candidate - x
    offset = offset * np.minimum(1, epsilon / np.maximum(length(offset), 1e-30))[:, None]
    return np.clip(x + offset, 0, 1)


@pytest.mark.parametrize("attack", ["fgsm", "bim", "mifgsm"])
def test_follows_the_closed_form(model, attack):
    model, kernel, bias = model
    x, y = problem()
    steps, size = (1, 0.4) if attack == "fgsm" else (3, 0.2)
    here, momentum = x.astype("float64"), 0.0
    for _ in range(steps):
        slope = linear_gradient(kernel, bias, here, y)
        if attack == "mifgsm":
            momentum = momentum + slope / np.abs(slope).mean(axis=1, keepdims=True)
            slope = momentum
        here = onto_ball(here + size * unit(slope), x, 0.4)
    found = BUILDERS[attack](0.4)(model, x, y)
    np.testing.assert_allclose(found, here, rtol=0, atol=1e-5)


@pytest.mark.parametrize("attack", [PGD, APGD])
def test_two_classes_end_where_the_margin_falls_fastest(attack):
    # Far from the bounds the worst point of a linear model is known exactly.
    model, kernel, _ = linear()
    x, y = problem(0.4, 0.6, classes=2)
    model.set_weights([kernel.astype("float32"), np.array([0, 0, -1e9, -1e9], "float32")])
    direction = (kernel[:, 1] - kernel[:, 0]) * np.where(y == 0, 1, -1)[:, None]
    options = dict(step_size=2.0) if attack is PGD else {}
    found = attack(epsilon=0.3, steps=40, norm="L2", loss="margin", **options)(model, x, y)
    worst = x + 0.3 * unit(direction)
    fooled = logits(kernel[:, :2], np.zeros(2), worst).argmax(axis=1) != y
    assert 0 < fooled.mean() < 1
    np.testing.assert_allclose(found[~fooled], worst[~fooled], rtol=0, atol=2e-4)
    np.testing.assert_array_equal(
        logits(kernel[:, :2], np.zeros(2), found).argmax(axis=1) != y, fooled
    )


def test_random_starts_fill_directions_and_distances():
    threat = Threat(epsilon=0.5, norm="L2", random_start=True)
    images = np.random.default_rng(0).random((400, 10))
    offset = random_offset(threat, images, 3)
    distance = length(offset)
    assert distance.max() <= 0.5 * (1 + 1e-6)
    # Mean and variance of a uniform distance, and of each direction, to five standard errors.
    assert abs(distance.mean() - 0.25) < 5 * 0.5 / np.sqrt(12 * 400)
    assert np.abs(unit(offset).mean(axis=0)).max() < 5 / np.sqrt(10 * 400)


def test_tiny_and_absent_gradients():
    threat = Threat(epsilon=1.0, norm="L2")
    slope = np.array([[3e-30, -4e-30], [0, 0], [np.nan, 1]], "float32")
    here = ops.convert_to_tensor(np.full((3, 2), 0.5, "float32"))
    found = ops.convert_to_numpy(threat.ascend(here, here, ops.convert_to_tensor(slope)))
    np.testing.assert_allclose(found, [[1, 0], [0.5, 0.5], [0.5, 1]], atol=1e-6)
    found = ops.convert_to_numpy(threat.direction(ops.convert_to_tensor(slope[:2])))
    np.testing.assert_allclose(found, [[0.6, -0.8], [0, 0]], atol=1e-6)


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: FGSM(norm="l1"), "norm must be one of Linf, L2; received 'l1'"),
        (lambda: FGSM(norm="L2", epsilon=-1), "epsilon must be at least 0 and finite .* received"),
        (lambda: PGD(norm="L2", step_size=np.inf), "step_size must be at least 0 and finite"),
        (lambda: SAPGD(norm="L2"), "norm of SAPGD must be one of Linf; received 'L2'"),
    ],
)
def test_bad_arguments(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_the_norm_is_recorded():
    assert FGSM(norm="L2").get_config()["norm"] == "L2"
    assert FGSM().get_config()["norm"] == "Linf"
