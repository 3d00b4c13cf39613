"""Neurons whose potentials carry a penalty, against their equations."""

import math

import keras
import numpy as np
import pytest
from keras import ops

from keras_dep import LIF
from keras_dep.layers import GuardedLIF
from keras_dep.layers import SupportPenaltyLIF
from tests.support import neurons
from tests.support.hyper_dual import Dual
from tests.support.neurons import CONSTANTS
from tests.support.neurons import THRESHOLD
from tests.support.neurons import UNITS
from tests.support.neurons import T

BATCH = 3
# Without memory the penalty is a smooth function of the currents, apart from kinks.
FORGETFUL = {"tau": 1.0, "threshold": THRESHOLD}


def noise(layer):
    """The layer's next draws."""
    generator = keras.random.SeedGenerator(0)
    generator.state.assign(layer._generator.state)
    found = keras.random.normal((T, 1, UNITS), dtype="float32", seed=generator)
    return ops.convert_to_numpy(found)[:, 0].astype("float64")


def test_equations_under_noise():
    layer = GuardedLIF(T, sigma=0.25, noise="always", seed=5, reset="hard", **CONSTANTS)

    def spikes(currents, _):
        rows, membranes = [], [Dual(0.0)] * UNITS
        for row, eta in zip(currents, 0.25 * noise(layer)):
            found = [neurons.step(v, x + e) for v, x, e in zip(membranes, row, eta)]
            membranes = [v for v, _, _ in found]
            rows.append([s for _, _, s in found])
        return rows

    neurons.compare([layer], spikes)


def hinge(distances):
    return np.mean(np.maximum(0, 0.3 - np.abs(distances)))


def support(half):
    def share(distances):
        """Of `(T, batch, channels)`."""
        mean, deviation = distances.mean(axis=1), np.sqrt(distances.var(axis=1) + 1e-6)
        phi = np.vectorize(lambda x: 0.5 * (1 + math.erf(x / math.sqrt(2))))
        return np.mean(phi((half - mean) / deviation) - phi((-half - mean) / deviation))

    return share


@pytest.mark.parametrize(
    "layer, penalty",
    [
        (lambda: GuardedLIF(T, delta=0.3, sigma=0.0, strength=2.0, **FORGETFUL), hinge),
        (lambda: SupportPenaltyLIF(T, strength=2.0, width=0.7, **FORGETFUL), support(0.7)),
        (
            lambda: SupportPenaltyLIF(T, strength=2.0, surrogate="rectangle", **FORGETFUL),
            support(0.5),
        ),
    ],
    ids=["hinge", "triangle", "rectangle"],
)
def test_penalty_and_its_gradient(layer, penalty):
    layer = layer()
    dense = keras.layers.Dense(UNITS, use_bias=False)
    inputs = keras.Input((T * BATCH,))
    outputs = layer(neurons.Folded(T)(dense(inputs)))
    model = keras.Model(inputs, outputs)
    kernel = np.random.default_rng(2).normal(0.8, 0.4, (T * BATCH, UNITS)).astype("float32")
    dense.kernel.assign(kernel)

    def value(kernel):
        return 2.0 * penalty(kernel.reshape(T, BATCH, UNITS) - THRESHOLD)

    for _ in range(2):
        model(np.eye(T * BATCH, dtype="float32"), training=True)
        (found,) = model.losses
        assert float(ops.convert_to_numpy(found)) == pytest.approx(value(kernel), rel=1e-5)
    model(np.eye(T * BATCH, dtype="float32"), training=False)
    assert not model.losses
    model.compile(keras.optimizers.SGD(1.0), lambda y, s: ops.sum(ops.stop_gradient(s)) * 0.0)
    model.train_on_batch(np.eye(T * BATCH), np.zeros((T * BATCH, UNITS)))
    found = kernel - ops.convert_to_numpy(dense.kernel)
    expected, h = np.zeros_like(kernel, "float64"), 1e-5
    for place in np.ndindex(kernel.shape):
        ends = np.repeat(kernel.astype("float64")[None], 2, axis=0)
        ends[:, *place] += [h, -h]
        expected[place] = (value(ends[0]) - value(ends[1])) / (2 * h)
    assert np.abs(expected).max() > 1e-2
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_channels_of_either_layout():
    maps = np.random.default_rng(0).normal(0.8, 0.4, (T * BATCH, 2, 3, 5)).astype("float32")
    found = []
    for axis, x in ((-1, maps), (3, maps), (1, np.moveaxis(maps, 3, 1))):
        layer = SupportPenaltyLIF(T, strength=1.0, axis=axis, **FORGETFUL)
        layer(x, training=True)
        found.append(float(ops.convert_to_numpy(layer.losses[0])))
    distances = maps.reshape(T, BATCH * 6, 5) - THRESHOLD
    assert found == pytest.approx([support(1.0)(distances)] * 3, rel=1e-5)


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("kind", [GuardedLIF, SupportPenaltyLIF])
def test_inference_without_noise_is_lif(kind, recompute):
    x = np.random.default_rng(0).normal(0.6, 0.5, (T * BATCH, UNITS)).astype("float32")
    layer = kind(T, recompute=recompute, **CONSTANTS)
    found, expected = (ops.convert_to_numpy(each(x)) for each in (layer, LIF(T, **CONSTANTS)))
    np.testing.assert_array_equal(found, expected)
    assert (ops.convert_to_numpy(layer.distances(x)) >= 0).astype(int).tolist() == found.tolist()


def test_when_there_is_noise():
    x = ops.full((400, 1), 0.9)
    for when, rates in (("training", (0.5, 0)), ("always", (0.5, 0.5)), ("never", (0, 0))):
        layer = GuardedLIF(1, sigma=10.0, noise=when, seed=1)
        found = [float(ops.convert_to_numpy(ops.mean(layer(x, training=t)))) for t in (True, False)]
        assert found == pytest.approx(rates, abs=0.1)
        assert layer.draws == (when == "always")


def test_noise_is_the_same_when_it_is_computed_again():
    steps = []
    for recompute in (False, True):
        layer = GuardedLIF(T, sigma=0.3, seed=4, recompute=recompute, strength=0.5, **CONSTANTS)
        model = neurons.behind_currents(layer)
        model.layers[1].kernel.assign(np.random.default_rng(0).normal(0.6, 0.5, (T, UNITS)))
        layer._generator.state.assign([4, 0])
        model.compile(keras.optimizers.SGD(1.0), "mse")
        model.train_on_batch(np.eye(T), np.full((T, UNITS), 0.3))
        steps.append(ops.convert_to_numpy(model.layers[1].kernel))
    np.testing.assert_allclose(*steps, atol=1e-6)


@pytest.mark.parametrize(
    "layer", [GuardedLIF(T, 0.1, 0.3, "always", 0.5, 3), SupportPenaltyLIF(T, 0.5, axis=1)]
)
def test_files(layer, tmp_path):
    model = neurons.behind_currents(layer)
    layer.strength.assign(0.75)
    again = neurons.loaded(model, tmp_path / "model.keras").layers[-1]
    assert float(ops.convert_to_numpy(again.strength)) == 0.75 and not again.trainable_variables


def test_limits():
    for name in ("delta", "sigma", "strength"):
        with pytest.raises(
            ValueError, match=f"{name} must be finite and not negative; received -1"
        ):
            GuardedLIF(T, **{name: -1})
    with pytest.raises(ValueError, match="noise must be one of training, always, never"):
        GuardedLIF(T, noise="often")
    with pytest.raises(ValueError, match="strength must be finite and not negative; received nan"):
        SupportPenaltyLIF(T, strength=math.nan)
