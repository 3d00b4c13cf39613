"""A training step, compiled and not."""

import keras
import numpy as np
import pytest

import keras_dep
from keras_dep import models
from tests.models import families


@pytest.mark.parametrize("normalization", ["merged", "stepwise"])
def test_loss_and_weights_are_the_same(normalization, monkeypatch):
    if keras.backend.backend() == "torch":
        pytest.skip("torch.compile of a train step takes minutes; eager is Keras' default there")
    families.narrow(monkeypatch)
    draw = np.random.default_rng(0)
    x, y = draw.random((4, 8, 8, 2)).astype("float32"), np.arange(4) % 3
    model = models.build(
        "vgg5",
        input_shape=(8, 8, 2),
        num_classes=3,
        timesteps=2,
        neuron={"threshold": 0.5, "tau": 2.0},
        normalization=normalization,
    )
    start = [w + 0.2 * draw.random(w.shape) for w in model.get_weights()]
    found = []
    for jit in (False, True):
        model.set_weights(start)
        loss = keras_dep.MeanLogitCrossentropy()
        model.compile(keras.optimizers.SGD(0.5), loss, jit_compile=jit)
        assert model.jit_compile is jit
        found.append([float(model.train_on_batch(x, y)), *model.get_weights()])
    assert max(np.abs(one - other).max() for one, other in zip(found[0][1:], start)) > 0.01
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
