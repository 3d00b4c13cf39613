"""Loss functions of the user: their gradients, their records, and the cache of gradients."""

import dataclasses
import json

import keras
import numpy as np
import pytest
from keras import ops

from keras_dep import FGSM
from keras_dep import PGD
from keras_dep import attacks
from keras_dep import losses
from keras_dep.attacks import record
from keras_dep.training import PerturbedTraining
from tests.attacks.test_changes import data
from tests.attacks.test_changes import network
from tests.attacks.test_gradient_attacks import linear
from tests.attacks.test_gradient_attacks import logits
from tests.attacks.test_gradient_attacks import problem
from tests.training.test_adversarial import data as training_data
from tests.training.test_adversarial_attacks import spiking
from tests.training.test_adversarial_attacks import trained_on


@keras.saving.register_keras_serializable("tests")
def squares(labels, outputs):
    return ops.sum(ops.square(losses.mean_logits(outputs)), axis=-1)


@keras.saving.register_keras_serializable("tests")
def each_step(labels, outputs):
    """What "tet" computes, written otherwise."""
    assert keras.backend.standardize_dtype(outputs.dtype) == "float32"
    chances = ops.log_softmax(outputs, axis=-1)
    hot = ops.one_hot(labels, outputs.shape[-1], dtype=outputs.dtype)[:, None]
    return -ops.mean(ops.sum(hot * chances, axis=-1), axis=1)


@keras.saving.register_keras_serializable("tests")
class Power:
    def __init__(self, exponent):
        self.exponent = exponent

    def get_config(self):
        return {"exponent": self.exponent}

    @classmethod
    def from_config(cls, config):
        return cls(**config)

    def __call__(self, labels, outputs):
        return ops.sum(losses.mean_logits(outputs) ** self.exponent, axis=-1)

    def shifted(self, labels, outputs):
        return 1.0 + self(labels, outputs)


@keras.saving.register_keras_serializable("tests")
@dataclasses.dataclass
class Scaled:
    factor: float

    def get_config(self):
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config):
        return cls(**config)

    def __call__(self, labels, outputs):
        return self.factor * squares(labels, outputs)


def kept(config):
    return json.loads(json.dumps(config))


@pytest.mark.parametrize("targeted", [False, True])
def test_the_gradient_is_that_of_the_function(targeted):
    model, kernel, bias = linear()
    x, y = problem()
    attack = FGSM(epsilon=0.1, loss=squares, targeted=targeted)
    expected = (-1) ** targeted * 2 * logits(kernel, bias, x) @ kernel.T
    np.testing.assert_allclose(attack.gradient(model, x, y), expected, rtol=1e-4, atol=1e-4)
    moved = np.clip(x + 0.1 * np.sign(expected), 0, 1)
    np.testing.assert_allclose(attack(model, x, y), moved, rtol=0, atol=1e-6)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_it_gets_the_logits_of_every_step_in_single_precision(policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = network()
    finally:
        keras.config.set_dtype_policy(before)
    x, y = data()
    named, own = (FGSM(loss=loss).gradient(model, x, y) for loss in ("tet", each_step))
    assert np.abs(named).max() > 0
    tolerance = 1e-5 if policy == "float32" else 1e-2
    np.testing.assert_allclose(own, named, rtol=tolerance, atol=tolerance * np.abs(named).max())


def test_adaptive_and_black_box_attacks_take_it_too():
    model, kernel, bias = linear()
    x, y = problem()
    corner = np.clip(x + 0.01 * np.sign(logits(kernel, bias, x) @ kernel.T), 0, 1)

    def value(images):
        return np.square(logits(kernel, bias, images)).sum(axis=1)

    for attack in (
        attacks.APGD(epsilon=0.01, steps=10, loss=squares),
        attacks.SPSA(epsilon=0.01, step_size=0.01, steps=2, directions=64, loss=squares),
    ):
        reached = value(attack(model, x, y)) - value(x)
        assert (reached > 0.5 * (value(corner) - value(x))).mean() > 0.9


@pytest.mark.parametrize("loss", [squares, Power(3), Scaled(2.0)], ids=["f", "object", "data"])
def test_a_registered_one_comes_back_from_its_record(loss):
    (x, y), model = data(), network()
    for attack in (PGD(steps=2, loss=loss), attacks.SPSA(steps=1, directions=2, loss=loss)):
        again = attacks.from_config(kept(attack.get_config()))
        assert again.get_config() == attack.get_config()
        assert again(model, x, y).tobytes() == attack(model, x, y).tobytes()
        record.check_complete(attack)
    saved = kept(PerturbedTraining(model, PGD(loss=loss)).get_config())
    loaded = PerturbedTraining.from_config(saved)
    assert loaded.attack.get_config() == PGD(loss=loss).get_config()


def unregistered(labels, outputs):
    return squares(labels, outputs)


class Unregistered(Power):
    pass


@pytest.mark.parametrize(
    "loss, name",
    [
        (unregistered, "unregistered"),
        (lambda labels, outputs: outputs[:, 0], "<lambda>"),
        (Unregistered(2), "Unregistered"),
        (Power(2).shifted, "method"),
    ],
    ids=["function", "lambda", "object", "method"],
)
def test_an_unregistered_one_attacks_but_has_no_record(loss, name):
    attack = FGSM(loss=loss)
    with pytest.raises(ValueError, match=f"^loss must be registered.*{name}; decorate") as raised:
        attack.get_config()
    assert "\n" not in str(raised.value)
    if name != "<lambda>":
        assert np.isfinite(attack(network(), *data())).all()


def test_what_is_no_loss_is_refused():
    model, (x, y) = network(), data()
    unknown = {"class_name": "function", "config": "tests>gone", "registered_name": "function"}
    for build, message in (
        (lambda: FGSM(loss=Power), "loss must be one of ce.*received <class"),
        (lambda: FGSM(loss=3), "loss must be one of ce.*received 3"),
        (lambda: FGSM(loss=unknown), "loss must be a registered function.*'tests>gone'"),
        (
            lambda: FGSM(loss=lambda y, z: ops.mean(z))(model, x, y),
            r"received shape=\(\)",
        ),
        (lambda: FGSM(loss=lambda y, z: z[:, 0])(model, x, y), "one value per sample"),
    ):
        with pytest.raises(ValueError, match=message):
            build()


def times(factor):
    return lambda labels, outputs: factor * squares(labels, outputs)


def test_no_function_gets_the_gradient_of_another():
    model, (x, y) = network(), data()
    slopes = {}

    def check(loss, factor, images=x, labels=y):
        # The same quadratic, so many times as steep.
        count = len(images)
        if count not in slopes:
            slopes[count] = FGSM(loss=squares).gradient(model, images, labels)
        found = FGSM(loss=loss).gradient(model, images, labels)
        expected = factor * slopes[count]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())

    for factor in (1.0, 3.0):
        # One code object, another closure.
        check(times(factor), factor)
        # One code object, other defaults; the function before is gone and its address free.
        check(lambda labels, outputs, f=2 * factor: f * squares(labels, outputs), 2 * factor)
    factor = 4.0

    def scaled(labels, outputs):
        return factor * squares(labels, outputs)

    check(scaled, 4.0)
    factor = 5.0
    check(scaled, 5.0)
    loss = Scaled(1.0)
    check(loss, 1.0)
    loss.factor = 6.0
    check(loss, 6.0)
    # Equal to what the first one was, and of another size, which is traced anew.
    check(Scaled(1.0), 1.0, x[:5], y[:5])
    power = Power(2)
    check(power, 1.0)
    check(power.shifted, 1.0)
    power.exponent = 1
    flat = FGSM(loss=power.shifted).gradient(model, x, y)
    np.testing.assert_allclose(flat, FGSM(loss=power).gradient(model, x, y), atol=1e-6)
    assert np.abs(flat - slopes[len(x)]).max() > 1e-3


def test_an_attack_that_changes_leaves_compiled_gradients_as_they_are():
    model, (x, y) = network(), data()
    attack = FGSM(loss="margin")
    attack.gradient(model, x, y)
    attack.loss, attack.targeted = "ce", True
    found = FGSM(loss="margin").gradient(model, x[:5], y[:5])
    fresh = FGSM(loss="margin").gradient(network(), x[:5], y[:5])
    np.testing.assert_allclose(found, fresh, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("loss", [squares, Scaled(2.0)], ids=["function", "object"])
def test_training_perturbs_by_it(loss):
    network, (x, y) = spiking(), training_data()
    attack = PGD(epsilon=0.2, step_size=0.1, steps=2, seed=5, loss=loss)
    crafted = attack(network, x, y)
    assert (crafted != PGD(epsilon=0.2, step_size=0.1, steps=2, seed=5)(network, x, y)).any()
    assert trained_on(attack, network, x, y).tobytes() == crafted.tobytes()


def test_a_compiled_step_trains_as_with_the_named_loss():
    (x, y), weights = training_data(), []
    for loss in ("tet", each_step):
        network = spiking()
        # An L2 step depends on all of the gradient, a signed one on its signs alone.
        attack = PGD(epsilon=1.0, step_size=0.5, steps=1, norm="L2", random_start=False, loss=loss)
        model = PerturbedTraining(network, attack)
        model.compile("sgd", losses.MeanLogitCrossentropy())
        marked = {"image": x, "adversarial": np.ones(len(x), "float32"), "start": np.zeros_like(x)}
        model.train_on_batch(marked, y)
        weights.append([ops.convert_to_numpy(w) for w in network.weights])
    for own, named in zip(*weights, strict=True):
        np.testing.assert_allclose(own, named, rtol=1e-5, atol=1e-6)
