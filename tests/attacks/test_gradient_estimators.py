"""Rules for the derivative of spikes against the published ones, in NumPy and float64."""

import math

import keras
import numpy as np
import pytest
from scipy.stats import norm

from keras_dep import FGSM
from keras_dep import LIF
from keras_dep import PLIF
from keras_dep import attacks
from keras_dep import models
from keras_dep.attacks import APGD
from keras_dep.attacks import SAPGD
from keras_dep.attacks.gradient_estimators import ESTIMATORS
from keras_dep.attacks.randomness import image_draws
from keras_dep.layers import Folded
from keras_dep.layers import SpikingLayer
from tests.support.spiking_reference import CLASSES
from tests.support.spiking_reference import FEATURES
from tests.support.spiking_reference import Reference
from tests.support.spiking_reference import T
from tests.support.spiking_reference import network
from tests.support.spiking_reference import problem
from tests.support.spiking_reference import through_time
from tests.support.stateful import everything
from tests.support.stateful import spiking


class Adaptive:
    """The surrogate of ASSG, with its memory from gradient to gradient."""

    def __init__(self, half=0.425, relax=1.5, beta1=0.9, beta2=0.9):
        self.a = 2 * math.tan(math.pi * half) / math.pi
        self.relax, self.beta1, self.beta2 = relax, beta1, beta2
        self.memory = {}

    def __call__(self, currents, potentials, spikes, reference, number):
        x = potentials - reference.threshold
        m, d = self.memory.get(number, (np.ones_like(x), np.zeros_like(x)))
        m = self.beta1 * m + (1 - self.beta1) * np.abs(x)
        d = self.beta2 * d + (1 - self.beta2) * np.abs(np.abs(x) - m)
        self.memory[number] = m, d
        alpha = self.a / (m + self.relax * d + 0.0001)
        slopes = alpha / 2 / (1 + (math.pi * alpha * x / 2) ** 2)
        return through_time(slopes, potentials, spikes, reference)


def deviating(per_image):
    """PDSG on dense layers, whose potentials count together."""

    def rule(currents, potentials, spikes, reference, number):
        slopes = []
        for t in range(len(potentials)):
            axes = (0, 2) if per_image else (0, 1, 2)
            sigma = potentials[: t + 1].std(axis=axes, ddof=1, keepdims=True)[0]
            sigma = np.where(sigma == 0, 1, sigma)
            slopes.append(norm.pdf(potentials[t] - reference.threshold, 0.5 * sigma, sigma))
        return through_time(slopes, potentials, spikes, reference)

    return rule


def by_rate(currents, potentials, spikes, reference, number):
    fires = spikes.mean(axis=0) > 0
    return lambda gradient: gradient * fires


def rate_approximation(gamma=0.2):
    def rule(currents, potentials, spikes, reference, number):
        mean, decay, v = currents.mean(axis=0), reference.decay, reference.threshold
        k = (1 - gamma * v + gamma * v * decay) / ((decay + 1) * v)
        slope = k * ((mean > (1 - decay) * v) & (mean <= 2 * v))
        slope = slope + gamma * ((mean >= 0) & (mean <= (1 - decay) * v))
        return lambda gradient: gradient * slope

    return rule


def averaged(width):
    def rule(currents, potentials, spikes, reference, number):
        distance = np.abs(potentials - reference.threshold)
        slopes = np.maximum(0, width - distance) / width**2
        return lambda gradient: np.broadcast_to(
            (gradient * slopes).mean(axis=0), gradient.shape
        ).copy()

    return rule


RULES = {
    "assg": ("assg", Adaptive),
    "assg-grid": (
        attacks.ASSG(vanishing=0.9, relaxation=0.5, mean_decay=0.8, deviation_decay=0.7),
        lambda: Adaptive(0.45, 0.5, 0.8, 0.7),
    ),
    "pdsg": ("pdsg", lambda: deviating(per_image=True)),
    "pdsg-batch": (attacks.PDSG(per_image=False), lambda: deviating(per_image=False)),
    "bptr": ("bptr", lambda: by_rate),
    "rga": ("rga", rate_approximation),
    "rga-steep": (attacks.RGA(subthreshold=0.5), lambda: rate_approximation(0.5)),
    "hart": ("hart", lambda: averaged(1.0)),
    "hart-wide": (attacks.HART(width=2.0), lambda: averaged(2.0)),
}


@pytest.fixture(scope="module")
def networks():
    return {reset: network(reset=reset) for reset in ("hard", "soft")}


@pytest.mark.parametrize(
    "name, reset", [*((name, "hard") for name in RULES), ("assg", "soft"), ("pdsg", "soft")]
)
def test_gradient_is_the_published_one(networks, name, reset):
    model, (estimator, rule) = networks[reset], RULES[name]
    x, y = problem()
    expected, logits = Reference(model, rule()).gradient(x, y)
    np.testing.assert_allclose(model.predict_on_batch(x).mean(axis=1), logits, atol=1e-5)
    attack = FGSM(epsilon=0.1, estimator=estimator)
    found = attack.gradient(model, x, y)
    assert np.abs(expected).max() > 1e-2
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    usual = FGSM(epsilon=0.1).gradient(model, x, y)
    assert np.abs(found - usual).max() > 1e-3
    # The layers are as they were.
    np.testing.assert_array_equal(FGSM(epsilon=0.1).gradient(model, x, y), usual)


def published_sapgd(reference, start, x, y, epsilon, steps):
    """SA-PGD over a gradient with memory: the published pseudocode, images side by side."""

    def over_mean(size, value):
        mean = size.mean(axis=1, keepdims=True)
        return np.divide(value, mean, out=np.zeros_like(value), where=mean > 0)

    here = start.astype("float64")
    g, logits = reference.gradient(here, y)
    stored = np.where((logits.argmax(axis=1) != y)[:, None], here, np.nan)
    k, least, shrink = (max(int(share * steps), 1) for share in (0.22, 0.06, 0.03))
    size, count, m, v = epsilon, 0, 0.0, 0.0
    for _ in range(steps):
        m = 0.5 * m + over_mean(np.abs(g), g)
        v = 0.8 * v + over_mean(g**2, g**2)
        here = here + np.clip(size * m / (np.sqrt(v) + 1e-12), -size, size)
        here = np.clip(here, np.maximum(x - epsilon, 0), np.minimum(x + epsilon, 1))
        g, logits = reference.gradient(here, y)
        stored = np.where((logits.argmax(axis=1) != y)[:, None], here, stored)
        count += 1
        if count == k:
            size, count, k = size / 2, 0, max(k - shrink, least)
    return stored


def test_assg_with_sapgd_is_the_published_attack(networks):
    epsilon, steps = 0.1, 12
    model = networks["hard"]
    x, _ = problem()
    y = model.predict_on_batch(x).mean(axis=1).argmax(axis=1).astype("int32")
    found = SAPGD(epsilon=epsilon, steps=steps, estimator="assg", seed=5)(model, x, y)
    draw = np.stack([each.uniform(-1, 1, FEATURES) for each in image_draws(x, [5, 0])])
    stretched = epsilon * draw / np.abs(draw).max(axis=1, keepdims=True)
    start = np.clip(x + stretched.astype("float32"), 0, 1)
    expected = published_sapgd(Reference(model, Adaptive()), start, x, y, epsilon, steps)
    fooled = ~np.isnan(expected).any(axis=1)
    assert 0 < fooled.sum() < len(x)
    np.testing.assert_allclose(found[fooled], expected[fooled], atol=1e-5)
    answers = model.predict_on_batch(found).mean(axis=1).argmax(axis=1)
    np.testing.assert_array_equal(answers != y, fooled)
    # Memory is of one attack: the next begins anew.
    again = SAPGD(epsilon=epsilon, steps=steps, estimator="assg", seed=5)(model, x, y)
    np.testing.assert_array_equal(found, again)


def test_further_samples_leave_the_memory_of_assg(networks):
    model = networks["hard"]
    x, y = problem()
    one, three = (FGSM(epsilon=0.1, estimator="assg", samples=n) for n in (1, 3))
    np.testing.assert_allclose(one.gradient(model, x, y), three.gradient(model, x, y), rtol=1e-5)


def test_deviations_are_of_each_channel_of_a_map():
    """One spiking convolution: the gradient by hand."""
    keras.utils.set_random_seed(4)
    body = [keras.Input((4, 4, 3)), keras.layers.Conv2D(2, 1)]
    model = keras.Sequential([*body, LIF(1), keras.layers.Flatten(), keras.layers.Dense(CLASSES)])
    x = np.random.default_rng(0).uniform(0, 1, (3, 4, 4, 3)).astype("float32")
    y = np.arange(3).astype("int32")
    weights = model.get_weights()
    weights[0] *= 3
    weights[-1] += np.arange(CLASSES, dtype="float32")
    model.set_weights(weights)
    slope = FGSM(epsilon=0.1, estimator="pdsg", loss="margin").gradient(model, x, y)
    kernel, bias, dense, _ = (w.astype("float64") for w in model.get_weights())
    u = x.astype("float64") @ kernel[0, 0] + bias
    sigma = u.std(axis=(1, 2), ddof=1, keepdims=True)
    scores = model.predict_on_batch(x)
    scores[np.arange(3), y] = -np.inf
    upstream = (dense[:, scores.argmax(axis=1)] - dense[:, y]).T.reshape(u.shape)
    expected = (upstream * norm.pdf(u - 1, 0.5 * sigma, sigma)) @ kernel[0, 0].T
    np.testing.assert_allclose(slope, expected, rtol=1e-3, atol=1e-6)


def test_conversion_is_the_gradient_of_the_twin_and_asks_the_network():
    options = dict(input_shape=(8, 8, 1), num_classes=3, timesteps=2)
    keras.utils.set_random_seed(0)
    model = models.build("vgg5", **options)
    twin = models.build("vgg5", **options, spiking=False)
    draw = np.random.default_rng(0)
    model.set_weights(
        [w + 0.1 * draw.uniform(0.5, 1, w.shape).astype("float32") for w in model.get_weights()]
    )
    twin.set_weights(model.get_weights())
    x = draw.uniform(0, 1, (2, 8, 8, 1)).astype("float32")
    y = np.zeros(2, "int32")
    found = FGSM(epsilon=0.1, estimator="conversion").gradient(model, x, y)
    expected = FGSM(epsilon=0.1).gradient(twin, x, y)
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def test_other_widths_compile_no_other_gradient(networks, monkeypatch):
    traced, spikes = [], attacks.HART.spikes
    monkeypatch.setattr(
        attacks.HART, "spikes", lambda *given: traced.append(given) or spikes(*given)
    )
    slopes = [
        FGSM(epsilon=0.1, estimator=attacks.HART(width=width)).gradient(
            networks["soft"], *problem()
        )
        for width in (0.5, 1.0, 2.0)
    ]
    # Once for each of two layers; nothing is compiled on torch.
    assert len(traced) == (6 if keras.backend.backend() == "torch" else 2)
    assert np.abs(slopes[0] - slopes[1]).max() > 1e-3 < np.abs(slopes[1] - slopes[2]).max()


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_what_every_attack_promises_holds_by_any_rule(networks, name):
    model = networks["hard"]
    x, _ = problem()
    y = model.predict_on_batch(x).mean(axis=1).argmax(axis=1).astype("int32")
    attack = APGD(epsilon=0.3, steps=10, estimator=name)
    found = attack(model, x, y)
    assert np.abs(found - x).max() <= 0.3 + 1e-6 and found.min() >= 0 and found.max() <= 1
    # It knows of its successes by the answers of the network.
    answers = model.predict_on_batch(found).mean(axis=1).argmax(axis=1)
    assert (answers != y).mean() >= 0.3
    np.testing.assert_allclose(attack(model, x[::-1], y[::-1])[::-1], found, atol=1e-4)
    unmoved = APGD(epsilon=0, steps=2, estimator=name)(model, x, y)
    assert unmoved.tobytes() == x.tobytes()


@pytest.mark.parametrize("name", ["assg", "conversion"])
def test_nothing_of_the_model_changes(name):
    model = spiking()
    model.optimizer.build(model.trainable_variables)
    x = np.random.default_rng(0).uniform(0, 1, (4, 4, 4, 2)).astype("float32")
    y = np.zeros(4, "int32")
    before = everything(model)
    attack = FGSM(epsilon=0.1, estimator=name, samples=2)
    found = attack(model, x, y)
    assert everything(model) == before and np.abs(found - x).max() > 0.05
    np.testing.assert_array_equal(attack(model, x, y), found)


def test_learnt_constants_are_those_of_the_rule():
    layer = PLIF(T, decay=0.5, threshold=2.0, learn_threshold=True)
    model = keras.Sequential([keras.Input((4,)), Folded(T), layer, keras.layers.Dense(2)])
    # Below what ever fires, between that and saturation, beyond it, and negative.
    x = np.tile(np.array([0.5, 1.5, 5.0, -0.1], "float32"), (T, 1))
    attack = FGSM(epsilon=0.1, estimator="rga", loss="margin")
    kernel = model.get_weights()[-2].astype("float64")
    expected = (kernel[:, 1] - kernel[:, 0]) * np.array([0.2, (1 - 0.2) / (4 - 1), 0, 0])
    slope = attack.gradient(model, x, np.zeros(T, "int32"))
    np.testing.assert_allclose(slope, np.tile(expected, (T, 1)), rtol=1e-5)


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: FGSM(estimator="ste"), "estimator must be one of assg, bptr, .* received 'ste'"),
        (lambda: FGSM(estimator="rga", surrogate="arctan"), "surrogate or estimator .* not both"),
        (lambda: FGSM(estimator="rga", width=1.0), "width=1.0 belongs to a surrogate"),
        (lambda: attacks.ASSG(vanishing=1.0), r"vanishing must lie in \(0, 1\); received 1.0"),
        (lambda: attacks.ASSG(relaxation=-1), "relaxation must be at least 0 .* received -1"),
        (lambda: attacks.ASSG(mean_decay=1), r"mean_decay must lie in \[0, 1\); received 1"),
        (lambda: attacks.RGA(subthreshold=-1), "subthreshold must be at least 0; received -1"),
        (lambda: attacks.HART(width=0), "width must be a positive finite number; received 0"),
    ],
)
def test_bad_arguments(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_an_estimator_needs_spiking_layers_that_take_one():
    plain = keras.Sequential([keras.Input((FEATURES,)), keras.layers.Dense(CLASSES)])
    with pytest.raises(ValueError, match="needs spiking layers derived from keras_dep.LIF"):
        FGSM(estimator="rga")(plain, *problem())

    class Foreign(SpikingLayer):
        def distances(self, inputs):
            return inputs - self.threshold

    foreign = keras.Sequential([keras.Input((FEATURES,)), Foreign(1), keras.layers.Dense(CLASSES)])
    with pytest.raises(ValueError, match="received Foreign, which takes none"):
        FGSM(estimator="rga")(foreign, *problem())
