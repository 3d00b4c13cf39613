"""ThresholdAdaptingLIF against its equations."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_dep import DEP
from keras_dep import LIF
from keras_dep.layers import ThresholdAdaptingLIF
from tests.support import hyper_dual
from tests.support import neurons
from tests.support.hyper_dual import Dual
from tests.support.neurons import CONSTANTS
from tests.support.neurons import DECAY
from tests.support.neurons import THRESHOLD
from tests.support.neurons import UNITS
from tests.support.neurons import WIDTH
from tests.support.neurons import T

THETA = np.array([0.25, 0.4])
SIGNATURE = np.random.default_rng(3).normal(0.6, 0.3, (T, UNITS)).astype("float32")


class WithSignature(ThresholdAdaptingLIF):
    def build(self, input_shape):
        super().build(input_shape)
        self.set_signature(SIGNATURE)


def transcribed(reset, detached):
    def spikes(currents, theta):
        rows, membranes, thresholds = [], [Dual(0.0)] * UNITS, [Dual(THRESHOLD)] * UNITS
        for t, row in enumerate(currents):
            rows.append([])
            for i, x in enumerate(row):
                u = DECAY * membranes[i] + x
                seen = Dual(u.value) if detached else u
                thresholds[i] = thresholds[i] + theta[i] * (seen - float(SIGNATURE[t, i]))
                s = hyper_dual.spike(u - thresholds[i], WIDTH)
                kept = u - thresholds[i] * s if reset == "soft" else (s * -1.0 + 1.0) * u
                membranes[i] = kept
                rows[-1].append(s)
        return rows

    return spikes


@pytest.mark.parametrize(
    "reset, detached, policy, rtol",
    [
        ("hard", False, "float32", 2e-4),
        ("hard", True, "float32", 2e-4),
        ("soft", False, "mixed_bfloat16", 2e-2),
    ],
)
def test_equations(reset, detached, policy, rtol):
    layer = WithSignature(T, reset=reset, detach_threshold=detached, dtype=policy, **CONSTANTS)
    neurons.compare([layer], transcribed(reset, detached), [THETA], rtol)


def test_without_adaptation_it_is_lif():
    x = np.random.default_rng(0).normal(0.6, 0.5, (T * 3, UNITS)).astype("float32")
    layer = ThresholdAdaptingLIF(T, theta=0.0, **CONSTANTS)
    expected = LIF(T, reset="hard", **CONSTANTS)(x)
    np.testing.assert_array_equal(ops.convert_to_numpy(layer(x)), ops.convert_to_numpy(expected))


def test_theta_does_not_become_negative():
    layer = ThresholdAdaptingLIF(T, theta=0.01)
    layer.build((None, UNITS))
    optimizer = DEP(keras.optimizers.SGD(1.0))
    optimizer.apply([ops.ones((UNITS,))], [layer.theta])
    assert (ops.convert_to_numpy(layer.theta) == 0).all()


def test_published_defaults_and_files(tmp_path):
    layer = ThresholdAdaptingLIF(T)
    model = neurons.behind_currents(layer)
    layer.set_signature(SIGNATURE)
    assert (layer.tau, layer.reset) == (5.0, "hard")
    assert ops.convert_to_numpy(layer.theta) == pytest.approx(0.2)
    again = neurons.loaded(model, tmp_path / "model.keras")
    found = ops.convert_to_numpy(again.layers[-1].signature)
    np.testing.assert_array_equal(found, SIGNATURE.ravel())


def test_limits():
    with pytest.raises(ValueError, match="theta must be finite and not negative; received -1"):
        ThresholdAdaptingLIF(T, theta=-1.0)
    layer = ThresholdAdaptingLIF(T)
    with pytest.raises(ValueError, match="must have inputs of known sizes"):
        layer.build((None, None))
    layer.build((None, UNITS))
    with pytest.raises(ValueError, match=r"must have the shape \(4, 2\); received \(3, 2\)"):
        layer.set_signature(SIGNATURE[1:])
