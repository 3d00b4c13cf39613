"""Spiking ResNets: parameter counts of the source, wiring, a training step, saving."""

import keras
import numpy as np
import pytest

import keras_dep
from keras_dep import models
from tests.interop.test_nir import draw_weights
from tests.support import families

BLOCKS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3)}


def build(**options):
    options = {"input_shape": (8, 8, 3), "num_classes": 10, "timesteps": 2, **options}
    return models.build("resnet18", **options)


def images(count=4):
    return np.random.default_rng(0).random((count, 8, 8, 3)).astype("float32")


def convolution(inputs, outputs, size=3):
    return size * size * inputs * outputs + outputs


@pytest.mark.parametrize("name", BLOCKS)
def test_trainable_parameters_equal_the_formula(name):
    model = families.graph(name, input_shape=(32, 32, 3), num_classes=10)
    expected, inputs = 9 * 3 * 64, 64
    for stage, (width, count) in enumerate(zip((64, 128, 256, 512), BLOCKS[name])):
        for block in range(count):
            expected += 2 * inputs + convolution(inputs, width)
            expected += 2 * width + convolution(width, width)
            if stage and not block:
                expected += convolution(inputs, width, 1)
            inputs = width
    expected += 2 * 512 + 512 * 10 + 10
    assert sum(int(np.prod(v.shape)) for v in model.trainable_variables) == expected


def test_the_map_shrinks_three_times_and_the_shortcut_carries_spikes():
    model = families.graph("resnet18", input_shape=(32, 32, 3), num_classes=10)
    adds = [layer for layer in model.layers if isinstance(layer, keras.layers.Add)]
    assert [layer.output.shape[1:] for layer in adds[1::2]] == [
        (32, 32, 64),
        (16, 16, 128),
        (8, 8, 256),
        (4, 4, 512),
    ]
    shortcuts = [type(add.input[1]._keras_history.operation).__name__ for add in adds]
    assert shortcuts == ["LIF", "LIF", *["Conv2D", "LIF"] * 3]


def test_trains_with_dropout_and_survives_saving(monkeypatch, tmp_path):
    families.narrow(monkeypatch)
    model = build(dropout=0.2)
    loss = keras_dep.MeanLogitCrossentropy()
    model.compile(keras.optimizers.SGD(0.1), loss=loss)
    before = model.get_weights()
    model.fit(images(8), np.arange(8), batch_size=8, verbose=0)
    changed = [(one != other).any() for one, other in zip(before, model.get_weights())]
    assert np.mean(changed) > 0.9
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        model.predict_on_batch(images()), loaded.predict_on_batch(images())
    )


def test_rate_encoding_and_merged_normalisation(monkeypatch):
    families.narrow(monkeypatch)
    neuron = {"reset": "hard", "threshold": 0.7, "tau": 1.7}
    model = build(encoder="rate", normalization="merged", neuron=neuron)
    draw_weights(model)
    one, other = (model.predict_on_batch(images()) for _ in range(2))
    assert one.shape == (4, 2, 10) and np.isfinite(one).all()
    # Spikes are drawn again at each call.
    assert np.abs(one - other).max() > 1e-3


def test_bad_input():
    with pytest.raises(ValueError, match="num_classes must be at least 2; received 1"):
        build(num_classes=1)
    with pytest.raises(ValueError, match="normalization must be one of stepwise, merged"):
        build(normalization="none")
