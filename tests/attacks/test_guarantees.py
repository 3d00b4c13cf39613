"""What every attack promises, whatever it searches: ball, range, batch, epsilon 0, model state."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from keras_dep import attacks
from tests.attacks.test_gradient_attacks import everything
from tests.attacks.test_gradient_attacks import spiking

SIDE, COUNT = 4, 6
BUILDERS = {
    "fgsm": lambda e: attacks.FGSM(epsilon=e),
    "rfgsm": lambda e: attacks.RFGSM(epsilon=e),
    "bim": lambda e: attacks.BIM(epsilon=e, steps=2),
    "pgd": lambda e: attacks.PGD(epsilon=e, steps=2, restarts=2),
    "mifgsm": lambda e: attacks.MIFGSM(epsilon=e, steps=2),
    "apgd": lambda e: attacks.APGD(epsilon=e, steps=3),
    "apgdt": lambda e: attacks.APGDT(epsilon=e, steps=2, classes=2),
    "sapgd": lambda e: attacks.SAPGD(epsilon=e, steps=3),
    "spsa": lambda e: attacks.SPSA(epsilon=e, step_size=e / 2, steps=2, directions=2),
    "square": lambda e: attacks.Square(epsilon=e, queries=4),
    "corners": lambda e: attacks.RandomSearch(epsilon=e, draws=3),
    "uniform": lambda e: attacks.RandomSearch(epsilon=e, draws=3, points="uniform"),
    "transfer": lambda e: attacks.Transfer(attacks.FGSM(epsilon=e), [SUBSTITUTE]),
}


def smooth():
    wide = keras.initializers.RandomNormal(stddev=2.0)
    body = [
        keras.Input((SIDE, SIDE, 2)),
        keras.layers.Flatten(),
        keras.layers.Dense(8, activation="tanh", kernel_initializer=wide),
        keras.layers.Dense(4, kernel_initializer=wide),
    ]
    return keras.Sequential(body)


keras.utils.set_random_seed(0)
MODEL, SUBSTITUTE = smooth(), smooth()


def images(seed=0):
    draw = np.random.default_rng(seed)
    x = draw.uniform(-0.3, 1.3, (COUNT, SIDE, SIDE, 2)).clip(0, 1).astype("float32")
    return x, draw.integers(0, 4, COUNT).astype("int32")


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
