"""DLIF's loss against its recursion written out, with images crafted by the attack itself."""

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops

from keras_dep import LIF
from keras_dep import DirectEncoding
from keras_dep import MeanLogitCrossentropy
from keras_dep import UnfoldTime
from keras_dep.attacks import FGSM
from keras_dep.attacks import PGD
from keras_dep.attacks import Square
from keras_dep.models import inference
from keras_dep.training import DefendedTraining
from keras_dep.training import MembranePerturbation
from tests.support.numpy_reference import central
from tests.support.numpy_reference import injected

STEPS, FEATURES, CLASSES, RATE, DECAY = 3, 4, 3, 0.5, 0.6
BACKEND = keras.backend.backend()
ATTACK = FGSM(epsilon=0.1)


def network():
    body = [
        keras.Input((FEATURES,)),
        DirectEncoding(STEPS),
        layers.Dense(6),
        LIF(STEPS, decay=DECAY),
        layers.Dense(CLASSES),
        UnfoldTime(STEPS),
    ]
    return injected(keras.Sequential(body), seed=4, deviation=1.0)


def data():
    draw = np.random.default_rng(2)
    return draw.uniform(0, 1, (5, FEATURES)).astype("float32"), draw.integers(0, CLASSES, 5)


def compiled(model, eager):
    model.compile(
        keras.optimizers.SGD(RATE),
        MeanLogitCrossentropy(),
        run_eagerly=eager,
        jit_compile=not eager and BACKEND == "jax",
    )
    return model


def mean_square(difference):
    """Of the membrane that a constant difference of currents drives."""
    membrane, squares = 0.0, []
    for _ in range(STEPS):
        membrane = DECAY * membrane + difference
        squares.append((membrane**2).mean())
    return np.mean(squares)


@pytest.mark.parametrize("eager", [True, False], ids=["eager", "compiled"])
def test_value_is_the_recursion_and_the_mix(eager):
    x, y = data()
    rho, kappa = 0.7, 0.25
    model = DefendedTraining(network(), loss_terms=[MembranePerturbation(rho, kappa, ATTACK)])
    crafted = ATTACK(model.network, x, y)
    kernel, bias = (np.float64(ops.convert_to_numpy(v)) for v in model.trainable_variables[:2])
    clean, perturbed = (
        inference.cross_entropies(inference.logits(model.network, images), y).mean()
        for images in (x, crafted)
    )
    penalty = mean_square((np.float64(x) - crafted) @ kernel)
    logs = compiled(model, eager).train_on_batch(x, y, return_dict=True)
    expected = kappa * clean + (1 - kappa) * perturbed + rho * penalty
    assert logs["loss"] == pytest.approx(expected, rel=1e-4)
    assert logs["membrane_perturbation"] == pytest.approx(expected - clean, rel=1e-3)
    assert penalty > 0.01 and perturbed > 1.02 * clean


def test_the_gradient_flows_through_the_adversarial_images_alone():
    x, y = data()
    model = DefendedTraining(network(), loss_terms=[MembranePerturbation(1.0, 1.0, ATTACK)])
    plain = compiled(network(), True)
    crafted = np.float64(ATTACK(model.network, x, y))
    parameters = [np.float64(ops.convert_to_numpy(v)) for v in model.trainable_variables[:2]]
    clean = np.float64(x) @ parameters[0] + parameters[1]

    def penalty(parameters):
        return mean_square(clean - (crafted @ parameters[0] + parameters[1]))

    slopes = central(penalty, parameters)
    compiled(model, BACKEND != "jax").train_on_batch(x, y)
    plain.train_on_batch(x, y)
    pairs = list(zip(model.trainable_variables, plain.trainable_variables, strict=True))
    for (found, reference), slope in zip(pairs, [*slopes, 0.0, 0.0], strict=True):
        found, reference = map(ops.convert_to_numpy, (found, reference))
        np.testing.assert_allclose(found, reference - RATE * slope, rtol=0, atol=1e-6)
    assert np.abs(slopes[1]).max() > 0.01


def test_moving_averages_see_the_clean_batch_and_then_the_adversarial_one():
    x, y = data()
    spiking = network()
    layer = layers.BatchNormalization()
    body = [*spiking.layers[:2], layer, *spiking.layers[2:]]
    normalised = keras.Sequential([keras.Input((FEATURES,)), *body])
    model = DefendedTraining(normalised, loss_terms=[MembranePerturbation(attack=ATTACK)])
    crafted = ATTACK(normalised, x, y)
    hidden = [ops.convert_to_numpy(spiking.layers[1](each)).mean(axis=0) for each in (x, crafted)]
    compiled(model, BACKEND != "jax").train_on_batch(x, y)
    expected = 0.99 * 0.01 * hidden[0] + 0.01 * hidden[1]
    moved = ops.convert_to_numpy(layer.moving_mean)
    np.testing.assert_allclose(moved, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: MembranePerturbation(rho=-1.0), "rho must be finite and at least 0"),
        (lambda: MembranePerturbation(kappa=1.5), r"kappa must lie in \[0, 1\]; received 1.5"),
        (lambda: MembranePerturbation(attack=PGD()), "PGD with a random start"),
        (lambda: MembranePerturbation(attack=Square()), "must make one search per batch"),
        (
            lambda: DefendedTraining(
                keras.Sequential([keras.Input((4,)), layers.Dense(3)]),
                loss_terms=[MembranePerturbation()],
            ),
            "spiking layers derived from keras_dep.LIF; received none",
        ),
    ],
    ids=["rho", "kappa", "random start", "queries", "no spikes"],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message) as raised:
        call()
    assert "\n" not in str(raised.value)
