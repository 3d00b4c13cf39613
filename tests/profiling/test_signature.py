"""The signature of a network against a simulation in NumPy."""

import keras
import numpy as np
import pytest

from keras_dep import LIF
from keras_dep import PLIF
from keras_dep import DirectEncoding
from keras_dep.layers import ThresholdAdaptingLIF
from keras_dep.profiling.signature import membrane_signature

T, COUNT = 3, 7


def network():
    layers = [
        keras.layers.Dense(4),
        DirectEncoding(T),
        LIF(T, tau=2.0, threshold=0.6, name="first"),
        keras.layers.Dense(2),
        PLIF(T, tau=1.5, threshold=0.9, learn_threshold=True, reset="hard", name="second"),
    ]
    return keras.Sequential([keras.Input((5,)), *layers])


def simulated(currents, decay, threshold, hard):
    potentials, spikes, v = [], [], 0.0
    for x in currents:
        u = decay * v + x
        s = (u >= threshold).astype(float)
        v = (1 - s) * u if hard else u - threshold * s
        potentials.append(u)
        spikes.append(s)
    return np.stack(potentials), np.stack(spikes)


def test_mean_potentials_before_the_reset():
    model, x = network(), np.random.default_rng(0).random((COUNT, 5)).astype("float32")
    draw = np.random.default_rng(1)
    for dense in (model.layers[0], model.layers[3]):
        dense.kernel.assign(draw.normal(0.3, 0.8, dense.kernel.shape))
    (a, b), (c, d) = (each.get_weights() for each in (model.layers[0], model.layers[3]))
    first, spikes = simulated(np.stack([x @ a + b] * T), 0.5, 0.6, hard=False)
    second, _ = simulated(spikes @ c + d, 1 - 1 / 1.5, 0.9, hard=True)
    for size in (3, 128):
        found = membrane_signature(model, x, batch_size=size)
        assert list(found) == ["first", "second"]
        for name, potentials in (("first", first), ("second", second)):
            assert found[name].dtype == "float32"
            np.testing.assert_allclose(found[name], potentials.mean(axis=1), rtol=1e-4, atol=1e-5)


def test_limits():
    with pytest.raises(ValueError, match="needs images; received none; pass"):
        membrane_signature(network(), np.zeros((0, 5)))
    with pytest.raises(ValueError, match="batch_size must be at least 1; received 0"):
        membrane_signature(network(), np.zeros((1, 5)), batch_size=0)
    adapting = keras.Sequential([keras.Input((3,)), ThresholdAdaptingLIF(1)])
    with pytest.raises(ValueError, match="needs a graph of layers with keras_dep.LIF; received"):
        membrane_signature(adapting, np.zeros((1, 3)))
