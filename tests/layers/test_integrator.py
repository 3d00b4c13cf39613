"""The readout against a loop, and against a sum without leak."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_dep import Integrator

T, BATCH, UNITS = 5, 3, 4


def currents():
    return np.random.default_rng(0).standard_normal((T * BATCH, UNITS)).astype("float32")


@pytest.mark.parametrize("tau", [1.0, 1.5, 4.0, float("inf")])
def test_equals_a_loop(tau):
    found = ops.convert_to_numpy(Integrator(T, tau)(currents())).reshape(T, BATCH, UNITS)
    membrane = np.zeros((BATCH, UNITS))
    for step, current in enumerate(currents().reshape(T, BATCH, UNITS)):
        membrane = (1 - 1 / tau) * membrane + current
        np.testing.assert_allclose(found[step], membrane, atol=1e-5)


def test_config_shape_and_precision():
    layer = Integrator(T, 2.0, dtype="mixed_bfloat16")
    assert Integrator.from_config(layer.get_config()).get_config() == layer.get_config()
    assert layer(keras.KerasTensor((None, 7))).shape == (None, 7)
    half = ops.convert_to_numpy(ops.cast(layer(currents()), "float32"))
    whole = ops.convert_to_numpy(Integrator(T, 2.0)(currents()))
    np.testing.assert_allclose(half, whole, atol=0.02)


def test_bad_input():
    with pytest.raises(ValueError, match="tau must be at least 1.*received 0"):
        Integrator(T, 0)
    with pytest.raises(ValueError, match="timesteps must be an integer of at least 1; received 0"):
        Integrator(0)
