"""The released protocol against its own description, on the models' normalisation."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_dep import LIF
from keras_dep import DirectEncoding
from keras_dep import Steps
from keras_dep.attacks import FGSM
from keras_dep.attacks import PGD
from keras_dep.attacks import Released
from keras_dep.evaluation import evaluate
from tests.attacks.test_gradient_attacks import CLASSES
from tests.attacks.test_gradient_attacks import FEATURES
from tests.attacks.test_gradient_attacks import linear
from tests.attacks.test_gradient_attacks import problem

MEAN, STD, T = 0.45, 0.2, 3

pytestmark = pytest.mark.filterwarnings("ignore:Released attacks one time step")


@pytest.fixture(scope="module")
def networks():
    """A network on pixels, and the one that it is behind its normalisation, of one time step."""
    keras.utils.set_random_seed(0)
    wide = keras.initializers.RandomNormal(stddev=1.0)
    hidden = layers.Dense(8, kernel_initializer=wide)
    head = layers.Dense(CLASSES, kernel_initializer=wide)

    def build(first, steps):
        body = [*first, hidden, DirectEncoding(steps), LIF(steps), head, Steps(steps)]
        return keras.Sequential([keras.Input((FEATURES,)), *body])

    return build([layers.Normalization(mean=MEAN, variance=STD**2)], T), build([], 1)


def expected(behind, x, y, epsilon, step_size, steps):
    """Signed steps on the normalised image, in its ball and then in [0, 1]."""
    z = ((x - MEAN) / STD).astype("float32")
    here = z
    for _ in range(steps):
        slope = FGSM(epsilon=0).gradient(behind, here, y)
        moved = here + step_size * np.sign(slope)
        here = np.clip(z + np.clip(moved - z, -epsilon, epsilon), 0, 1)
    return here * STD + MEAN


def test_attacks_are_made_on_one_normalised_clamped_step(networks):
    model, behind = networks
    x, y = problem()
    found = Released(FGSM(epsilon=0.3))(model, x, y)
    np.testing.assert_allclose(found, expected(behind, x, y, 0.3, 0.3, 1), atol=1e-5)
    options = dict(epsilon=0.3, step_size=0.1, steps=3, random_start=False)
    found = Released(PGD(**options))(model, x, y)
    np.testing.assert_allclose(found, expected(behind, x, y, 0.3, 0.1, 3), atol=1e-5)
    # Far outside the ball of that radius in pixels.
    assert np.abs(found - x).max() > 0.3 * STD + 0.1


def test_the_clamp_alone_is_a_control(networks):
    x, y = problem()
    found = Released(FGSM(epsilon=0))(networks[0], x, y)
    np.testing.assert_allclose(found, np.clip((x - MEAN) / STD, 0, 1) * STD + MEAN, atol=1e-6)


def test_it_warns_and_does_not_count(networks):
    x, y = problem()
    with pytest.warns(UserWarning, match="its figures say nothing of robustness"):
        attack = Released(FGSM(epsilon=0.1))
    record = evaluate(networks[0], x, y, {"released": attack}, verbose=0)
    assert not record["attacks"][0]["counts"]
    assert record["worst_case"]["accuracy"] == record["clean"]["accuracy"]
    assert record["protocol"]["attacks"]["released"]["normalized_epsilon"] == 0.1


def test_it_needs_a_normalisation():
    with pytest.raises(ValueError, match="has no Normalization layer; the released protocol needs"):
        Released(FGSM())(linear()[0], *problem())
