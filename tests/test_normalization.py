"""Stepwise statistics equal a loop that calls an ordinary layer once per step."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_dep import StepwiseBatchNormalization

T, BATCH = 3, 5


@pytest.mark.parametrize("axis", [-1, 1])
def test_equals_a_loop_over_steps(axis):
    x = np.random.default_rng(0).normal(1.0, 2.0, (T, BATCH, 4, 6, 4)).astype("float32")
    folded = StepwiseBatchNormalization(T, axis=axis, momentum=0.9, epsilon=1e-5)
    looped = keras.layers.BatchNormalization(axis=axis, momentum=0.9, epsilon=1e-5)
    found = folded(x.reshape(-1, 4, 6, 4), training=True)
    expected = np.stack(
        [ops.convert_to_numpy(ops.stop_gradient(looped(s, training=True))) for s in x]
    )
    found = ops.convert_to_numpy(ops.stop_gradient(found)).reshape(x.shape)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    for one, other in zip(folded.get_weights(), looped.get_weights()):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_inference_is_ordinary_and_config_round_trips():
    layer = StepwiseBatchNormalization(T, momentum=0.8)
    x = np.ones((T * 2, 3), "float32")
    plain = keras.layers.BatchNormalization(momentum=0.8)
    np.testing.assert_allclose(
        ops.convert_to_numpy(ops.stop_gradient(layer(x, training=False))),
        ops.convert_to_numpy(ops.stop_gradient(plain(x, training=False))),
    )
    assert StepwiseBatchNormalization.from_config(layer.get_config()).timesteps == T


def test_bad_input():
    with pytest.raises(ValueError, match="timesteps must be an integer of at least 1; received 0"):
        StepwiseBatchNormalization(0)
