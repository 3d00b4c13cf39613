"""The released protocol against its own description, on the models' normalisation."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_dep import LIF
from keras_dep import DirectEncoding
from keras_dep import RateEncoding
from keras_dep import UnfoldTime
from keras_dep.attacks import FGSM
from keras_dep.attacks import PGD
from keras_dep.attacks import ReferenceCodeAttack
from keras_dep.evaluation import evaluate
from keras_dep.layers import DLIF
from tests.attacks.test_gradient_attacks import CLASSES
from tests.attacks.test_gradient_attacks import FEATURES
from tests.attacks.test_gradient_attacks import linear
from tests.attacks.test_gradient_attacks import problem

MEAN, STD, T = 0.45, 0.2, 3
OPTIONS = dict(epsilon=0.3, step_size=0.1, steps=3, random_start=False)

pytestmark = pytest.mark.filterwarnings("ignore:ReferenceCodeAttack perturbs")


@pytest.fixture(scope="module")
def networks():
    """A network on pixels, and the one that it is behind its normalisation, of one time step."""
    keras.utils.set_random_seed(0)
    wide = keras.initializers.RandomNormal(stddev=1.0)
    hidden = layers.Dense(8, kernel_initializer=wide)
    head = layers.Dense(CLASSES, kernel_initializer=wide)

    def build(first, steps):
        body = [*first, hidden, DirectEncoding(steps), LIF(steps), head, UnfoldTime(steps)]
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


class Stateful:
    """The same network in NumPy, asked for one step at a time, with a membrane that stays."""

    def __init__(self, behind):
        self.w, self.b, self.out, self.bias = behind.get_weights()
        self.membrane = 0.0

    def step(self, z):
        self.charged = self.membrane * (1 - 1 / 1.1) + z @ self.w + self.b
        fired = self.charged >= 1
        self.membrane = self.charged - fired
        return fired @ self.out + self.bias

    def slope(self, z, y):
        logits = self.step(z)
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        error = shares / shares.sum(axis=1, keepdims=True) - np.eye(CLASSES)[y]
        return (error @ self.out.T * np.maximum(0, 1 - abs(self.charged - 1))) @ self.w.T


def test_attacks_are_made_on_one_normalised_clamped_step(networks):
    model, behind = networks
    x, y = problem()
    found = ReferenceCodeAttack(FGSM(epsilon=0.3))(model, x, y)
    np.testing.assert_allclose(found, expected(behind, x, y, 0.3, 0.3, 1), atol=1e-5)
    found = ReferenceCodeAttack(PGD(**OPTIONS), stale_state=False)(model, x, y)
    np.testing.assert_allclose(found, expected(behind, x, y, 0.3, 0.1, 3), atol=1e-5)
    # Far outside the ball of that radius in pixels.
    assert np.abs(found - x).max() > 0.3 * STD + 0.1


def test_membranes_are_kept_until_the_batch_is_done(networks):
    model, behind = networks
    x, y = problem()
    attack, reference = ReferenceCodeAttack(PGD(**OPTIONS)), Stateful(behind)
    z = here = (x - MEAN) / STD
    for _ in range(3):
        moved = here + 0.1 * np.sign(reference.slope(here, y))
        here = np.clip(z + np.clip(moved - z, -0.3, 0.3), 0, 1)
    found = attack(model, x, y)
    np.testing.assert_allclose(found, here * STD + MEAN, atol=1e-5)
    assert (
        np.abs(found - ReferenceCodeAttack(PGD(**OPTIONS), stale_state=False)(model, x, y)).max()
        > 0.01
    )
    answers = keras.ops.convert_to_numpy(attack.answers(model, x, y))
    logits = np.stack([reference.step(here) for _ in range(T)], axis=1)
    np.testing.assert_allclose(answers, logits, atol=1e-4)
    # What the same images are worth to a network that was reset.
    assert np.abs(logits - keras.ops.convert_to_numpy(model(found))).max() > 0.01
    assert [layer.timesteps for layer in model.layers if hasattr(layer, "timesteps")] == [T] * 3


def test_the_clamp_alone_is_a_control(networks):
    x, y = problem()
    found = ReferenceCodeAttack(FGSM(epsilon=0))(networks[0], x, y)
    np.testing.assert_allclose(found, np.clip((x - MEAN) / STD, 0, 1) * STD + MEAN, atol=1e-6)


def test_it_warns_and_does_not_count(networks):
    x, y = problem()
    with pytest.warns(UserWarning, match="its accuracies do not measure robustness"):
        attack = ReferenceCodeAttack(FGSM(epsilon=0.1))
    record = evaluate(networks[0], x, y, {"released": attack}, verbose=0)
    assert not record["attacks"][0]["counts"]
    assert record["worst_case"]["accuracy"] == record["clean"]["accuracy"]
    assert record["protocol"]["attacks"]["released"]["normalized_epsilon"] == 0.1


def test_it_needs_a_normalisation():
    with pytest.raises(ValueError, match="has no Normalization layer; the released protocol needs"):
        ReferenceCodeAttack(FGSM())(linear()[0], *problem())


def test_it_needs_an_image_repeated_and_one_search(networks):
    model = keras.Sequential(
        [keras.Input((FEATURES,)), layers.Normalization(mean=0.0, variance=1.0), RateEncoding(2)]
    )
    with pytest.raises(ValueError, match="must repeat its image at every step.*RateEncoding"):
        ReferenceCodeAttack(FGSM())(model, *problem())
    of_steps = [DirectEncoding(2), DLIF(2), UnfoldTime(2)]
    model = keras.Sequential([*model.layers[:1], layers.Dense(CLASSES), *of_steps])
    model.build((None, FEATURES))
    with pytest.raises(ValueError, match="weights that all steps share.*with DLIF"):
        ReferenceCodeAttack(FGSM())(model, *problem())
    with pytest.raises(ValueError, match="one start and one sample.*restarts=2, samples=1"):
        ReferenceCodeAttack(PGD(restarts=2))
