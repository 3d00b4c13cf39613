"""DLIF against its equations."""

import numpy as np
import pytest
from keras import ops

from keras_dep import LIF
from keras_dep.layers import DLIF
from tests.support import neurons
from tests.support.hyper_dual import Dual
from tests.support.neurons import CONSTANTS
from tests.support.neurons import THRESHOLD
from tests.support.neurons import UNITS
from tests.support.neurons import T

GAIN = np.array([1.0, 1.5, 0.5, 1.25])


def transcribed(reset):
    def spikes(currents, gain):
        rows, membranes = [], [Dual(0.0)] * UNITS
        for p, row in zip(gain, currents):
            found = [neurons.step(v, p * x, reset=reset) for v, x in zip(membranes, row)]
            membranes = [v for v, _, _ in found]
            rows.append([s for _, _, s in found])
        return rows

    return spikes


@pytest.mark.parametrize("policy, rtol", [("float32", 2e-4), ("mixed_bfloat16", 2e-2)])
def test_equations(policy, rtol):
    neurons.compare(
        [DLIF(T, reset="hard", dtype=policy, **CONSTANTS)], transcribed("hard"), [GAIN], rtol
    )


def test_soft_reset_recomputed():
    layer = DLIF(T, reset="soft", recompute=True, **CONSTANTS)
    model = neurons.behind_currents(layer)
    x = np.random.default_rng(0).normal(0.6, 0.5, (T * 3, UNITS)).astype("float32")
    expected = LIF(T, reset="soft", **CONSTANTS)(x)
    np.testing.assert_array_equal(ops.convert_to_numpy(layer(x)), ops.convert_to_numpy(expected))
    distances = ops.convert_to_numpy(layer.distances(x))
    np.testing.assert_array_equal(distances >= 0, ops.convert_to_numpy(expected) > 0)
    assert model.count_params() == T * UNITS + T


def test_published_defaults_and_files(tmp_path):
    layer = DLIF(T)
    assert layer.reset == "hard" and layer.threshold == THRESHOLD + 0.2
    assert 1 - 1 / layer.tau == pytest.approx(0.99)
    layer.gain.assign(GAIN)
    neurons.loaded(neurons.behind_currents(layer), tmp_path / "model.keras")


def test_limits():
    with pytest.raises(ValueError, match="tau or decay must be given, not both"):
        DLIF(T, tau=2.0, decay=0.5)
