"""What an attack does follows from attack and model as they are, whatever was compiled before."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import ops

import keras_dep
from keras_dep import attacks
from keras_dep.attacks import gradient_estimators
from keras_dep.models import inference

SHAPE, CLASSES, T = (5,), 3, 3


def network(**neurons):
    keras.utils.set_random_seed(0)
    body = [
        keras.Input(SHAPE),
        keras_dep.DirectEncoding(T),
        keras.layers.Dense(8),
        keras_dep.LIF(T, **{"tau": 4.0, **neurons}),
        keras.layers.Dense(CLASSES),
        keras_dep.UnfoldTime(T),
    ]
    model, draw = keras.Sequential(body), np.random.default_rng(0)
    model.set_weights([draw.normal(0, 1.0, w.shape).astype("float32") for w in model.weights])
    return model


def data():
    draw = np.random.default_rng(1)
    x = draw.uniform(0, 1, (16, *SHAPE)).astype("float32")
    return x, draw.integers(0, CLASSES, 16).astype("int32")


CHANGES = {"threshold": 0.3, "tau": 1.0, "reset": "hard", "width": 3.0}
ATTACKS = {
    "gradient": attacks.FGSM(epsilon=0.1),
    "answers": attacks.RandomSearch(epsilon=0.3, draws=8),
}


@pytest.mark.parametrize("name", CHANGES)
def test_attacks_and_answers_follow_a_changed_layer(name):
    model, (x, y), new = network(), data(), CHANGES[name]
    before = {kind: attack(model, x, y) for kind, attack in ATTACKS.items()}
    clean, slope = inference.logits(model, x), ATTACKS["gradient"].gradient(model, x, y)
    setattr(model.layers[2], name, new)
    other = network(**{name: new})
    for attack in ATTACKS.values():
        np.testing.assert_array_equal(attack(model, x, y), attack(other, x, y))
    found = ATTACKS["gradient"].gradient(model, x, y)
    np.testing.assert_array_equal(found, ATTACKS["gradient"].gradient(other, x, y))
    np.testing.assert_array_equal(inference.logits(model, x), inference.logits(other, x))
    assert (found != slope).any()
    if name != "width":
        assert (inference.logits(model, x) != clean).any()
        assert (ATTACKS["answers"](model, x, y) != before["answers"]).any()


class Reversed(attacks.FGSM):
    def objective(self, labels, outputs):
        return -super().objective(labels, outputs)


class Weighted(attacks.FGSM):
    def __init__(self, weigh, **options):
        super().__init__(**options)
        self.weigh = weigh

    def objective(self, labels, outputs):
        return self.weigh(outputs)[..., 0]


def test_an_objective_of_ones_own_gets_its_own_gradient():
    model, (x, y) = network(), data()
    plain = attacks.FGSM(epsilon=0.1)
    slope = plain.gradient(model, x, y)
    assert np.abs(slope).max() > 0
    np.testing.assert_allclose(Reversed(epsilon=0.1).gradient(model, x, y), -slope, atol=1e-7)
    np.testing.assert_array_equal(plain.gradient(model, x, y), slope)
    # The same class, name and loss, and other functions.
    mean = keras_dep.losses.mean_logits
    up = Weighted(mean, epsilon=0.1)
    down = Weighted(lambda outputs: -3 * mean(outputs), epsilon=0.1)
    rise = up.gradient(model, x, y)
    np.testing.assert_allclose(down.gradient(model, x, y), -3 * rise, rtol=1e-5, atol=1e-6)
    up.weigh = lambda outputs: 2 * mean(outputs)
    np.testing.assert_allclose(up.gradient(model, x, y), 2 * rise, rtol=1e-5, atol=1e-6)
    up.objective = lambda labels, outputs: 5 * mean(outputs)[..., 0]
    np.testing.assert_allclose(up.gradient(model, x, y), 5 * rise, rtol=1e-5, atol=1e-6)


def straight(factor):
    # Each call gives another class of the same name.
    @dataclasses.dataclass(frozen=True)
    class Straight(gradient_estimators.BPTR):
        scale: float = 1.0

        def spikes(self, layer, currents, numbers, memory):
            spikes, memory = super().spikes(layer, currents, numbers, memory)
            still = ops.stop_gradient(spikes)
            return still + factor * self.scale * (spikes - still), memory

    return Straight


def test_a_rule_of_ones_own_gets_its_own_gradient():
    model, (x, y) = network(), data()
    once = attacks.FGSM(estimator=straight(1.0)()).gradient(model, x, y)
    assert np.abs(once).max() > 0
    for rule, size in ((straight(1.0)(scale=2.0), 2), (straight(3.0)(), 3)):
        found = attacks.FGSM(estimator=rule).gradient(model, x, y)
        np.testing.assert_allclose(found, size * once, rtol=1e-4, atol=1e-6)


def test_attacks_that_compute_the_same_share_what_is_compiled(monkeypatch):
    built, original = [], keras_dep._backend.gradient_and_outputs
    monkeypatch.setattr(
        keras_dep._backend,
        "gradient_and_outputs",
        lambda *arguments: built.append(1) or original(*arguments),
    )
    model, (x, y) = network(), data()
    for attack in (
        attacks.FGSM(epsilon=0.1),
        attacks.PGD(epsilon=0.2, steps=2, seed=4),
        attacks.PGD(steps=2, surrogate="triangle", width=0.5),
        attacks.PGD(steps=2, surrogate="triangle", width=0.7),
        attacks.FGSM(estimator=attacks.RGA(subthreshold=0.1)),
        attacks.FGSM(estimator=attacks.RGA(subthreshold=0.3)),
        Weighted(keras_dep.losses.mean_logits),
        Weighted(keras_dep.losses.mean_logits),
    ):
        attack(model, x, y)
    assert len(built) == 4


def test_the_released_attack_follows_pixel_statistics():
    x, y = data()

    def normalised(mean):
        model = network()
        layer = keras.layers.Normalization(mean=mean, variance=0.04)
        return keras.Sequential([keras.Input(SHAPE), layer, *model.layers])

    with pytest.warns(UserWarning):
        attack = attacks.ReferenceCodeAttack(attacks.FGSM(epsilon=0.1))
    model = normalised(0.5)
    before = attack(model, x, y)
    model.layers[0].mean = normalised(0.2).layers[0].mean
    found = attack(model, x, y)
    with pytest.warns(UserWarning):
        fresh = attacks.ReferenceCodeAttack(attacks.FGSM(epsilon=0.1))
    np.testing.assert_array_equal(found, fresh(normalised(0.2), x, y))
    assert (found != before).any()
