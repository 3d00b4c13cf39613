"""What `PerturbedTraining` trains on is, bit for bit, what the attack crafts, whichever it is."""

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops

from keras_dep import FGSM
from keras_dep import LIF
from keras_dep import PGD
from keras_dep import DirectEncoding
from keras_dep import MeanLogitCrossentropy
from keras_dep import RateEncoding
from keras_dep import UnfoldTime
from keras_dep.layers import StochasticGate
from keras_dep.training import PerturbedTraining
from keras_dep.training.adversarial import MarkedBatches
from tests.support.attack_table import BUILDERS
from tests.support.attack_table import images as attacked_images
from tests.support.attack_table import smooth
from tests.training.test_adversarial import CLASSES
from tests.training.test_adversarial import SHAPE
from tests.training.test_adversarial import batches
from tests.training.test_adversarial import data
from tests.training.test_adversarial import inputs


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="XLA of TensorFlow alone")
def test_random_networks_under_xla():
    """Draws without effect give what an eager step gives, and others repeat."""
    gate, classifier = StochasticGate(2, gamma=0.0, seed=1), layers.Dense(2)
    spikes = [RateEncoding(2, seed=2), layers.Dense(5), LIF(2, threshold=0.5), gate]
    network = keras.Sequential([keras.Input((6,)), *spikes, classifier, UnfoldTime(2)])
    # Every pixel is black or white, and the attack swaps some: the encoder does not hesitate.
    model, x = PerturbedTraining(network, FGSM(epsilon=1.0)), np.eye(6, dtype="float32")[:3]
    start = [(v, ops.convert_to_numpy(v)) for v in network.variables]

    def trained(opening):
        for variable, value in start:
            variable.assign(opening * value if variable is gate.opening else value)
        model.train_on_batch(inputs(x, 1), np.array([0, 1, 0]))
        return ops.convert_to_numpy(classifier.kernel)

    model.compile(keras.optimizers.SGD(1.0), MeanLogitCrossentropy(), run_eagerly=True)
    # All of these gates are open.
    expected = trained(1.0)
    model.compile(keras.optimizers.SGD(1.0), MeanLogitCrossentropy(), jit_compile=True)
    np.testing.assert_allclose(trained(1.0), expected, atol=1e-5)
    half_open = trained(0.5)
    np.testing.assert_array_equal(trained(0.5), half_open)
    assert (half_open != expected).any()


class Seen(PerturbedTraining):
    """Keeps the images that it trains on."""

    def transform_batch(self, x, y, gradient):
        images, y = super().transform_batch(x, y, gradient)
        self.seen = images
        return images, y


def trained_on(attack, network, x, y, **fit):
    model = Seen(network, attack)
    # Eager steps alone show their images.
    model.compile("sgd", MeanLogitCrossentropy(), run_eagerly=True)
    start = attack.offset(x, attack.seed)
    model.train_on_batch(inputs(x, 1, start), y, **fit)
    return ops.convert_to_numpy(model.seen)


def spiking(random=False):
    keras.utils.set_random_seed(0)
    wide = keras.initializers.RandomNormal(stddev=1.0)
    body = [
        keras.Input(SHAPE),
        (RateEncoding if random else DirectEncoding)(2),
        layers.Flatten(),
        layers.Dense(8, kernel_initializer=wide),
        LIF(2),
        layers.Dense(CLASSES),
        UnfoldTime(2),
    ]
    return keras.Sequential(body)


@pytest.mark.parametrize("name", BUILDERS)
def test_it_trains_on_what_the_attack_crafts_or_refuses_it_by_name(name):
    x, y = attacked_images()
    for build in (BUILDERS[name], lambda e: with_one_search(BUILDERS[name](e))):
        attack = build(0.2)
        if attack.not_within_a_step():
            kind = type(attack).__name__
            with pytest.raises(ValueError, match=f"^{kind} within training must make one search"):
                PerturbedTraining(smooth(), attack)
            with pytest.raises(ValueError, match=f"^{kind} within training must make one search"):
                MarkedBatches(batches(), "clean", attack)
        else:
            network = smooth()
            crafted = attack(network, x, y)
            assert np.abs(crafted - x).max() > 0.01
            assert trained_on(attack, network, x, y).tobytes() == crafted.tobytes()


def with_one_search(attack):
    if attack.threat.restarts == 1:
        return attack
    return type(attack).from_config({**attack.get_config(), "restarts": 1})


def test_which_attacks_train():
    single = {name: with_one_search(build(0.1)) for name, build in BUILDERS.items()}
    trains = {name for name, attack in single.items() if not attack.not_within_a_step()}
    assert trains == {"fgsm", "rfgsm", "bim", "pgd", "mifgsm", "apgd", "sapgd"}


RULES = {
    "its own": {},
    "surrogate": {"surrogate": "arctan", "width": 0.3},
    "estimator": {"estimator": "rga"},
    "memory": {"estimator": "assg"},
    "loss": {"loss": "margin", "targeted": True},
    "samples": {"samples": 2},
}


@pytest.mark.parametrize("random", [False, True], ids=["", "random"])
@pytest.mark.parametrize("options", RULES.values(), ids=RULES)
def test_it_derives_and_draws_as_the_attack_does(options, random):
    network, (x, y) = spiking(random), data()
    attack = PGD(epsilon=0.2, step_size=0.1, steps=2, seed=5, **options)
    crafted = attack(network, x, y)
    plain = PGD(epsilon=0.2, step_size=0.1, steps=2, seed=5)(network, x, y)
    assert (crafted != plain).any() or options in ({}, {"samples": 2})
    before = [ops.convert_to_numpy(v) for v in network.non_trainable_variables]
    assert trained_on(attack, network, x, y).tobytes() == crafted.tobytes()
    # Only the training pass itself has drawn.
    reference = spiking(random)
    for variable, value in zip(reference.non_trainable_variables, before, strict=True):
        variable.assign(value)
    reference.compile("sgd", MeanLogitCrossentropy(), run_eagerly=True)
    reference.train_on_batch(crafted, y)
    for one, other in zip(network.variables, reference.variables, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(one), ops.convert_to_numpy(other))


@pytest.mark.parametrize("form", ["column", "one-hot"])
def test_labels_in_other_forms(form):
    network, (x, y) = smooth(), attacked_images()
    attack = BUILDERS["apgd"](0.2)
    crafted = attack(network, x, y)
    given = y[:, None] if form == "column" else np.eye(4, dtype="float32")[y]
    assert trained_on(attack, network, x, given).tobytes() == crafted.tobytes()
