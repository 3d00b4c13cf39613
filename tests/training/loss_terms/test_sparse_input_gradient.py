"""The SR penalty and its gradient against float64 NumPy and central differences."""

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops

from keras_dep import MeanLogitCrossentropy
from keras_dep.training import DefendedTraining
from keras_dep.training import SparseInputGradient
from tests.support.numpy_reference import central
from tests.support.numpy_reference import injected

STRENGTH, STEP, RATE, FEATURES, CLASSES = 0.3, 0.01, 0.5, 5, 4
BACKEND = keras.backend.backend()


def network(normalised=False):
    body = [layers.Dense(6), layers.BatchNormalization(), layers.Activation("tanh")]
    if not normalised:
        del body[1]
    body = [keras.Input((FEATURES,)), *body, layers.Dense(CLASSES)]
    return injected(keras.Sequential(body), seed=0)


def data():
    draw = np.random.default_rng(3)
    return draw.uniform(0, 1, (6, FEATURES)).astype("float32"), draw.integers(0, CLASSES, 6)


def logits(x, parameters):
    kernel, bias, top, shift = parameters
    return np.tanh(x @ kernel + bias) @ top + shift


def likelihood(z, y, rival):
    """Of the label, against the likeliest other class alone."""
    rows = np.arange(len(y))
    return 1 / (1 + np.exp(z[rows, rival] - z[rows, y]))


def reference(x, y, parameters):
    """The penalty as a function of parameters, with sign and rival as they are at these."""
    z = logits(x, parameters)
    z[np.arange(len(y)), y] = -np.inf
    rival = z.argmax(axis=1)
    kernel, bias, top, _ = parameters
    hidden = np.tanh(x @ kernel + bias)
    lead = top[:, y] - top[:, rival]
    direction = np.sign(((1 - hidden**2) * lead.T) @ kernel.T)

    def penalty(parameters):
        here = likelihood(logits(x, parameters), y, rival)
        there = likelihood(logits(x + STEP * direction, parameters), y, rival)
        return STRENGTH * (((there - here) / STEP) ** 2).mean()

    return penalty


def cross_entropy(x, y, parameters):
    z = logits(x, parameters)
    z = z - z.max(axis=1, keepdims=True)
    return -(z[np.arange(len(y)), y] - np.log(np.exp(z).sum(axis=1))).mean()


def sums(one, other):
    return [a + b for a, b in zip(one, other, strict=True)]


@pytest.mark.parametrize("eager", [True, False], ids=["eager", "compiled"])
def test_value_and_step_are_those_written_out(eager):
    x, y = data()
    model = DefendedTraining(network(), loss_terms=[SparseInputGradient(STRENGTH, STEP)])
    model.compile(
        keras.optimizers.SGD(RATE),
        MeanLogitCrossentropy(),
        run_eagerly=eager,
        jit_compile=not eager and BACKEND == "jax",
    )
    parameters = [np.float64(ops.convert_to_numpy(v)) for v in model.trainable_variables]

    def entropy(parameters):
        return cross_entropy(np.float64(x), y, parameters)

    for _ in range(2):
        penalty = reference(np.float64(x), y, parameters)
        model.reset_metrics()
        logs = model.train_on_batch(x, y, return_dict=True)
        plain = entropy(parameters)
        assert logs["sparse_input_gradient"] == pytest.approx(penalty(parameters), rel=1e-3)
        assert logs["loss"] == pytest.approx(plain + penalty(parameters), rel=1e-4)
        assert penalty(parameters) > 0.05 * plain
        slopes = sums(central(penalty, parameters), central(entropy, parameters))
        parameters = [w - RATE * slope for w, slope in zip(parameters, slopes, strict=True)]
    for found, expected in zip(model.trainable_variables, parameters, strict=True):
        # Rounding of single precision, over a step of 0.01.
        np.testing.assert_allclose(ops.convert_to_numpy(found), expected, rtol=0, atol=2e-4)


def test_the_sign_is_that_of_the_training_pass_which_stays_undone():
    x, y = data()
    model = DefendedTraining(network(normalised=True), loss_terms=[SparseInputGradient()])
    model.compile("sgd", MeanLogitCrossentropy(), run_eagerly=True)
    model.train_on_batch(x, y)
    normalisation = model.network.layers[1]
    # One update by the images and one by the shifted ones, which are nearly equal.
    inputs = ops.convert_to_numpy(model.network.layers[0](x)).mean(axis=0)
    moved = ops.convert_to_numpy(normalisation.moving_mean)
    np.testing.assert_allclose(moved, (1 - 0.99**2) * inputs, rtol=0, atol=3e-3)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"strength": -1.0}, "strength must be finite and at least 0; received -1.0"),
        ({"step_size": 0.0}, "step_size must be positive and finite; received 0.0"),
    ],
    ids=["strength", "step_size"],
)
def test_bad_input(options, message):
    with pytest.raises(ValueError, match=message):
        SparseInputGradient(**options)
