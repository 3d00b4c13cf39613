"""Pooling to a fixed size against its definition, also on sizes where Keras' layer fails."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_dep.layers.pooling import PooledTo


def reference(x, size):
    result = np.zeros((len(x), size, size, x.shape[-1]))
    for i, j in np.ndindex(size, size):
        rows, columns = (
            slice(int(np.floor(k * n / size)), int(np.ceil((k + 1) * n / size)))
            for k, n in ((i, x.shape[1]), (j, x.shape[2]))
        )
        result[:, i, j] = x[:, rows, columns].mean(axis=(1, 2))
    return result


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (6, 7), (8, 8), (13, 14), (32, 5)], ids=str)
def test_equals_the_definition_eager_and_compiled(shape):
    x = np.random.default_rng(0).standard_normal((2, *shape, 3)).astype("float32")
    expected = reference(x, 7)
    np.testing.assert_allclose(ops.convert_to_numpy(PooledTo(7)(x)), expected, atol=1e-5)
    model = keras.Sequential([keras.Input((*shape, 3)), PooledTo(7)])
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, atol=1e-5)


def test_channels_first_config_and_shape():
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype("float32")
    layer = PooledTo(2, data_format="channels_first")
    expected = np.moveaxis(reference(np.moveaxis(x, 1, -1), 2), -1, 1)
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x)), expected, atol=1e-5)
    assert layer.compute_output_shape((None, 3, 4, 5)) == (None, 3, 2, 2)
    assert PooledTo.from_config(layer.get_config()).get_config() == layer.get_config()
    with pytest.raises(ValueError, match="size must be at least 1; received 0"):
        PooledTo(0)
