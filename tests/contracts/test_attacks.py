"""What every attack promises, whatever it searches: ball, range, batch, epsilon 0, model state."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from keras_dep import attacks
from tests.support.attack_table import BUILDERS
from tests.support.attack_table import COUNT
from tests.support.attack_table import MODEL
from tests.support.attack_table import images
from tests.support.stateful import everything
from tests.support.stateful import spiking


@pytest.mark.parametrize("name", BUILDERS)
@settings(max_examples=4)
@given(epsilon=st.floats(0, 1), seed=st.integers(0, 2**31))
def test_ball_and_range_hold_to_one_ulp(name, epsilon, seed):
    x, y = images(seed)
    found = BUILDERS[name](epsilon)(MODEL, x, y, seed=seed)
    assert found.dtype == np.float32 and found.shape == x.shape
    assert found.min() >= 0 and found.max() <= 1
    excess = np.abs(found.astype("float64") - x) - np.float32(epsilon)
    assert (excess <= np.spacing(np.maximum(found, np.float32(epsilon)))).all()


@pytest.mark.parametrize("name", BUILDERS)
def test_epsilon_zero_returns_the_input_bit_for_bit(name):
    x, y = images()
    assert BUILDERS[name](0.0)(MODEL, x, y).tobytes() == x.tobytes()


@pytest.mark.parametrize("name", BUILDERS)
def test_images_already_misclassified_stay_where_asked(name):
    x, _ = images()
    wrong = np.arange(COUNT) % 2 == 0
    y = ((MODEL.predict_on_batch(x).argmax(axis=1) + wrong) % 4).astype("int32")
    attack = BUILDERS[name](0.2)
    found, spared = attack(MODEL, x, y), attack(MODEL, x, y, spare_errors=True)
    assert spared[wrong].tobytes() == x[wrong].tobytes()
    np.testing.assert_array_equal(spared[~wrong], found[~wrong])
    assert (found[wrong] != x[wrong]).any()


@pytest.mark.parametrize("name", [*BUILDERS, "gaussian"])
@settings(max_examples=2)
@given(order=st.permutations(range(COUNT)), size=st.integers(1, COUNT))
def test_an_image_does_not_depend_on_its_batch(name, order, size):
    x, y = images()
    attack = {**BUILDERS, "gaussian": lambda e: attacks.GaussianNoise(std=e)}[name](0.2)
    chosen = order[:2] if size < COUNT else order
    together, alone = attack(MODEL, x, y), attack(MODEL, x[chosen], y[chosen])
    # Rounding differs with the size of a batch; another draw would be 0.1 away.
    np.testing.assert_allclose(alone, together[chosen], rtol=0, atol=1e-4)
    assert np.abs(together - x).max() > 0.01


@pytest.mark.parametrize(
    "name", sorted(set(BUILDERS) - {"fgsm", "pgd", "apgd", "sapgd", "uniform"})
)
def test_nothing_of_the_model_changes(name, stateful):
    x, y = images()
    before = everything(stateful)
    attack = BUILDERS[name](0.1)
    if name == "transfer":
        attack = attacks.Transfer(attacks.FGSM(epsilon=0.1), [stateful])
    found = attack(stateful, x, y)
    assert everything(stateful) == before and np.isfinite(found).all()
    # Random models too answer the same twice, by their own restored generators.
    np.testing.assert_array_equal(attack(stateful, x, y), found)


@pytest.fixture(scope="module")
def stateful():
    keras.utils.set_random_seed(1)
    model = spiking()
    model.optimizer.build(model.trainable_variables)
    return model


def test_draws_differ_between_images_seeds_and_pixels():
    x = np.stack([images()[0][0]] * 2)
    y = np.zeros(2, "int32")
    noise = attacks.GaussianNoise(std=0.1)
    same = noise(MODEL, x, y) - x
    np.testing.assert_array_equal(same[0], same[1])
    x[1, 0, 0, 0] += 0.01
    other = noise(MODEL, x, y) - x
    assert np.abs(other[0] - other[1]).max() > 0.1
    assert np.abs(noise(MODEL, x, y, seed=1) - x - other).max() > 0.1


def test_configs_are_plain():
    configs = [build(0.1).get_config() for build in BUILDERS.values()]
    assert len({config["attack"] for config in configs}) == len(BUILDERS) - 1
    for config in configs:
        assert all(
            isinstance(value, (str, int, float, bool, list, type(None)))
            for value in config.values()
        )
