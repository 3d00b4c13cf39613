"""Losses, targets, surrogates and averaged gradients of the white-box attacks."""

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops

from keras_dep import FGSM
from keras_dep import LIF
from keras_dep import PGD
from keras_dep import PLIF
from keras_dep import DirectEncoding
from keras_dep import UnfoldTime
from keras_dep.attacks import APGD
from keras_dep.attacks import SAPGD
from keras_dep.attacks import losses
from tests.attacks.test_gradient_attacks import CLASSES
from tests.attacks.test_gradient_attacks import FEATURES
from tests.attacks.test_gradient_attacks import linear
from tests.attacks.test_gradient_attacks import logits
from tests.attacks.test_gradient_attacks import problem

T = 3


def spiking(neuron=LIF, **options):
    keras.utils.set_random_seed(2)
    wide = keras.initializers.RandomNormal(stddev=1.5)
    body = [
        keras.Input((FEATURES,)),
        layers.Dense(8, kernel_initializer=wide),
        DirectEncoding(T),
        neuron(T, **options),
        layers.Dense(CLASSES, kernel_initializer=wide),
        UnfoldTime(T),
    ]
    return keras.Sequential(body)


def entropy(scores, labels):
    shifted = scores - scores.max(axis=-1, keepdims=True)
    picked = np.take_along_axis(shifted, labels[:, None], axis=-1)[:, 0]
    return np.log(np.exp(shifted).sum(axis=-1)) - picked


def test_losses_in_float64():
    draw = np.random.default_rng(0)
    steps = draw.standard_normal((7, T, CLASSES))
    labels = draw.integers(0, CLASSES, 7).astype("int32")
    mean = steps.mean(axis=1)
    right = mean[np.arange(7), labels]
    wrong = np.where(np.eye(CLASSES)[labels] > 0, -np.inf, mean).max(axis=1)
    ranked = np.sort(mean, axis=1)
    expected = {
        "ce": entropy(mean, labels),
        "first_step": entropy(steps[:, 0], labels),
        "tet": np.mean([entropy(steps[:, t], labels) for t in range(T)], axis=0),
        "margin": wrong - right,
        "dlr": (wrong - right) / (ranked[:, -1] - ranked[:, -3]),
    }
    assert set(expected) == set(losses.LOSSES)
    for name, loss in losses.LOSSES.items():
        found = loss(ops.convert_to_tensor(labels), ops.convert_to_tensor(steps, "float32"))
        np.testing.assert_allclose(ops.convert_to_numpy(found), expected[name], rtol=1e-4)


@pytest.mark.parametrize("attack", [PGD, APGD, SAPGD])
def test_targets_are_reached_where_a_linear_model_can_be_moved(attack):
    model, kernel, bias = linear()
    x, _ = problem()
    wanted = ((logits(kernel, bias, x).argmax(axis=1) + 1) % CLASSES).astype("int32")
    lengths = {"step_size": 0.1} if attack is PGD else {}
    found = attack(epsilon=1.0, steps=40, targeted=True, **lengths)(model, x, wanted)
    reached = logits(kernel, bias, found).argmax(axis=1) == wanted
    # A class is out of reach where another has the larger logit in every corner.
    corners = np.array(np.meshgrid(*[[0, 1]] * FEATURES)).reshape(FEATURES, -1).T
    reachable = np.isin(wanted, logits(kernel, bias, corners).argmax(axis=1))
    assert reachable.any() and reached[reachable].mean() > 0.9


@pytest.mark.parametrize("surrogate, width", [("arctan", None), ("rectangle", 3.0)])
@pytest.mark.parametrize("neuron", [LIF, PLIF])
def test_a_surrogate_in_place_is_that_of_a_model_built_with_it(neuron, surrogate, width):
    model, other = spiking(neuron), spiking(neuron, surrogate=surrogate, width=width)
    other.set_weights(model.get_weights())
    x, y = problem(count=8)
    usual = FGSM(epsilon=0.1).gradient(model, x, y)
    slope = FGSM(epsilon=0.1, surrogate=surrogate, width=width).gradient(model, x, y)
    np.testing.assert_allclose(slope, FGSM(epsilon=0.1).gradient(other, x, y), atol=1e-6)
    assert np.abs(slope - usual).max() > 1e-2
    np.testing.assert_array_equal(FGSM(epsilon=0.1).gradient(model, x, y), usual)
    assert [layer.surrogate for layer in model.layers if isinstance(layer, LIF)] == ["triangle"]


class RandomScale(layers.Layer):
    """Multiplies by one random factor per call, uniform in [0.5, 1.5]."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(5)

    def call(self, x):
        factor = keras.random.uniform((1, 1), 0.5, 1.5, seed=self.seed_generator)
        return x * ops.cast(factor, x.dtype)


def test_averaged_gradients_of_a_random_model():
    model, _, _ = linear()
    inputs = keras.Input((FEATURES,))
    noisy = keras.Model(inputs, RandomScale()(model(inputs)))
    x, y = problem(count=2)

    def share(samples):
        """Of the gradient without the factor, whose mean is 1 and standard deviation 0.289."""
        attack = FGSM(epsilon=0.1, loss="margin", samples=samples)
        return np.mean(attack.gradient(noisy, x, y) / attack.gradient(model, x, y))

    assert abs(share(1) - 1) > 0.05 and share(1) == share(1)
    assert abs(share(200) - 1) < 4 * 0.289 / np.sqrt(200)


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(width=1.0), "width=1.0 belongs to a surrogate"),
        (dict(surrogate="step"), "surrogate must be one of triangle"),
        (dict(surrogate="arctan", width=-1), "width must be a positive finite number"),
        (dict(samples=0), "samples must be at least 1; received 0"),
        (dict(loss="cw"), "loss must be one of ce, first_step, tet, margin, dlr"),
    ],
    ids=str,
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        FGSM(**options)


def test_a_surrogate_needs_spikes():
    with pytest.raises(ValueError, match="needs a model with spiking layers; received"):
        FGSM(surrogate="arctan")(linear()[0], *problem())
