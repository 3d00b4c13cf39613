"""In inference, the logits of a sample do not depend on the rest of the batch."""

import numpy as np
import pytest
from keras import ops

from keras_dep import models
from tests.support import families


@pytest.fixture
def model(monkeypatch):
    families.narrow(monkeypatch)
    network = models.build(
        "vgg5", input_shape=(8, 6, 2), num_classes=3, timesteps=3, neuron={"threshold": 0.3}
    )
    draw = np.random.default_rng(1)
    network.set_weights(
        [draw.normal(0, 0.5, w.shape) if w.ndim > 1 else w for w in network.get_weights()]
    )
    return network


def test_order_size_and_padding_of_the_batch_and_an_empty_one(model):
    x = np.random.default_rng(0).random((5, 8, 6, 2)).astype("float32")

    def logits(x):
        return ops.convert_to_numpy(ops.stop_gradient(model(x, training=False)))

    whole = logits(x)
    assert np.ptp(whole, axis=0).max() > 1e-3
    np.testing.assert_allclose(logits(x[::-1].copy())[::-1], whole, atol=1e-6)
    np.testing.assert_allclose(np.concatenate([logits(x[:1]), logits(x[1:])]), whole, atol=1e-6)
    padded = np.concatenate([x, np.zeros_like(x[:3])])
    np.testing.assert_allclose(logits(padded)[:5], whole, atol=1e-6)
    assert logits(x[:0]).shape == (0, 3, 3)
    np.testing.assert_array_equal(logits(x), whole)
