"""Standardised convolution and learnt sums against NumPy, and their round trips."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_dep.layers.residual import SkipInit
from keras_dep.layers.residual import WeightedSum
from keras_dep.layers.weight_standardization import ScaledStandardizedConv2D


def values(tensor):
    return ops.convert_to_numpy(ops.stop_gradient(tensor))


def test_the_kernel_is_standardised_per_output_channel():
    draw = np.random.default_rng(0)
    layer = ScaledStandardizedConv2D(4, 3, padding="same")
    layer.build((None, 6, 6, 5))
    kernel, bias, gain = (
        draw.normal(0.3, 2.0, shape).astype("float32") for shape in ((3, 3, 5, 4), (4,), (4,))
    )
    layer.set_weights([kernel, bias, gain])
    weights, fan_in = kernel.astype("float64"), 45
    spread = weights.var(axis=(0, 1, 2), ddof=1)
    centred = weights - weights.mean(axis=(0, 1, 2))
    expected = gain * centred / np.sqrt(spread * fan_in + 1e-4)
    np.testing.assert_allclose(values(layer.effective_kernel()), expected, atol=1e-6)
    x = draw.random((2, 6, 6, 5)).astype("float32")
    plain = values(ops.conv(x, expected.astype("float32"), padding="same")) + bias
    np.testing.assert_allclose(values(layer(x)), plain, atol=1e-5)
    half = ScaledStandardizedConv2D(4, 3, padding="same", dtype="mixed_bfloat16")
    half.build((None, 6, 6, 5))
    half.set_weights([kernel, bias, gain])
    assert np.abs(values(ops.cast(half(x), "float32")) - plain).max() < 0.1


def test_learnt_sums():
    x, y = (np.random.default_rng(seed).random((2, 3)).astype("float32") for seed in (0, 1))
    total, gate = WeightedSum(), SkipInit()
    np.testing.assert_allclose(values(total([x, y])), (x + y) / 2, atol=1e-6)
    total.set_weights([np.array([2.0, -1.0])])
    np.testing.assert_allclose(values(total([x, y])), 2 * x - y, atol=1e-6)
    np.testing.assert_array_equal(values(gate(x)), 0 * x)
    gate.set_weights([np.array(0.5)])
    np.testing.assert_allclose(values(gate(x)), x / 2, atol=1e-6)


@pytest.mark.parametrize(
    "layer", [ScaledStandardizedConv2D(2, 3, epsilon=0.1), SkipInit(), WeightedSum()]
)
def test_config_round_trip(layer):
    copy = keras.layers.deserialize(keras.layers.serialize(layer))
    assert type(copy) is type(layer) and copy.get_config() == layer.get_config()
