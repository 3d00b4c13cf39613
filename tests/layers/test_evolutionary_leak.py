"""EvolutionaryLeakLIF against its equations."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_dep import LIF
from keras_dep import attacks
from keras_dep.layers import EvolutionaryLeakLIF
from tests.support import neurons
from tests.support.hyper_dual import Dual
from tests.support.neurons import CONSTANTS
from tests.support.neurons import UNITS
from tests.support.neurons import T

# Beyond 1 and below 0 as well, as published.
LEAKS = np.array([[0.3, 1.2], [0.5, -0.25], [0.75, 0.5], [1.5, 0.9]])


def transcribed(reset):
    def spikes(currents, leaks):
        rows, membranes = [], [Dual(0.0)] * UNITS
        for t, row in enumerate(currents):
            decays = leaks[t * UNITS : (t + 1) * UNITS]
            found = [
                neurons.step(v, x, decay, reset=reset)
                for v, x, decay in zip(membranes, row, decays)
            ]
            membranes = [v for v, _, _ in found]
            rows.append([s for _, _, s in found])
        return rows

    return spikes


@pytest.mark.parametrize(
    "reset, policy, rtol", [("hard", "float32", 2e-4), ("soft", "mixed_bfloat16", 2e-2)]
)
def test_equations(reset, policy, rtol):
    layer = EvolutionaryLeakLIF(T, reset=reset, dtype=policy, **CONSTANTS)
    neurons.compare([layer], transcribed(reset), [LEAKS.ravel()], rtol)


def test_starts_as_lif():
    x = np.random.default_rng(0).normal(0.6, 0.5, (T * 3, 2, 2, 5)).astype("float32")
    layer, plain = EvolutionaryLeakLIF(T, **CONSTANTS), LIF(T, reset="hard", **CONSTANTS)
    np.testing.assert_array_equal(ops.convert_to_numpy(layer(x)), ops.convert_to_numpy(plain(x)))
    assert layer.leak.shape == (T * 20,)


def test_the_rate_estimator_reads_the_mean_leaks():
    layer = EvolutionaryLeakLIF(T, **CONSTANTS)
    layer.build((None, UNITS))
    layer.leak.assign(LEAKS.ravel())
    x = np.random.default_rng(0).normal(0.6, 0.5, (T * 3, UNITS)).astype("float32")
    fired, _ = attacks.RGA().spikes(layer, layer._currents(x), (0.2,), None)
    assert (ops.convert_to_numpy(fired).reshape(x.shape) == ops.convert_to_numpy(layer(x))).all()
    decay, threshold = layer.decay_and_threshold("float32")
    np.testing.assert_allclose(ops.convert_to_numpy(decay), LEAKS.mean(axis=0), rtol=1e-6)
    assert threshold == CONSTANTS["threshold"]


def test_published_defaults_and_files(tmp_path):
    layer = EvolutionaryLeakLIF(T)
    model = neurons.behind_currents(layer)
    assert layer.reset == "hard" and (ops.convert_to_numpy(layer.leak) == 1).all()
    layer.leak.assign(LEAKS.ravel())
    neurons.loaded(model, tmp_path / "model.keras")


def test_limits():
    with pytest.raises(ValueError, match="EvolutionaryLeakLIF must have inputs of known sizes"):
        EvolutionaryLeakLIF(T)(keras.Input((None, 3)))
