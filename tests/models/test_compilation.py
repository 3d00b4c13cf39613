"""A training step with and without compilation."""

import keras
import numpy as np
import pytest

import keras_dep
from keras_dep import models
from keras_dep.layers.convolution import Conv2D
from keras_dep.layers.pooling import AveragePooling2D
from tests.support import families


def small():
    """One layer of each kind that has its own kernels on torch."""
    return keras.Sequential(
        [
            keras.Input((8, 8, 2)),
            Conv2D(4, 3, padding="same", use_bias=False),
            keras_dep.layers.MergedBatchNormalization(),
            keras_dep.DirectEncoding(2),
            keras_dep.LIF(2, threshold=0.5, tau=2.0),
            AveragePooling2D(2),
            keras.layers.Flatten(),
            keras.layers.Dense(3),
            keras_dep.UnfoldTime(2),
        ]
    )


@pytest.mark.parametrize("normalization", ["merged", "stepwise"])
def test_loss_and_weights_are_the_same(normalization, monkeypatch):
    families.narrow(monkeypatch)
    if keras.backend.backend() == "torch":
        if normalization == "stepwise":
            pytest.skip("torch.compile takes long for each")
        model = small()
    else:
        model = models.build(
            "vgg5",
            input_shape=(8, 8, 2),
            num_classes=3,
            timesteps=2,
            neuron={"threshold": 0.5, "tau": 2.0},
            normalization=normalization,
        )
    draw = np.random.default_rng(0)
    x, y = draw.random((4, 8, 8, 2)).astype("float32"), np.arange(4) % 3
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
