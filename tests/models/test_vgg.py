"""Spiking VGGs: parameter counts of the source, a training step, saving."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_dep
from keras_dep import models
from tests.support import families

CHANNELS = {
    "vgg5": (64, 128, 128),
    "vgg11": (64, 128, 256, 256, 512, 512, 512, 512),
    "vgg13": (64, 64, 128, 128, 256, 256, 512, 512, 512, 512),
    "vgg16": (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512),
}


def small(**options):
    return models.build("vgg5", input_shape=(8, 8, 1), num_classes=10, timesteps=2, **options)


def images(count=4):
    return np.random.default_rng(0).random((count, 8, 8, 1)).astype("float32")


@pytest.mark.parametrize("name", CHANNELS)
def test_trainable_parameters_equal_the_formula(name):
    model = families.graph(name, input_shape=(32, 32, 3), num_classes=100)
    expected, inputs = 0, 3
    for outputs in CHANNELS[name]:
        expected += 9 * inputs * outputs + outputs + 2 * outputs
        inputs = outputs
    expected += max(CHANNELS[name]) * 49 * 100 + 100
    assert sum(int(np.prod(v.shape)) for v in model.trainable_variables) == expected
    assert model.output_shape == (None, 4, 100)


def test_trains_and_survives_saving(monkeypatch, tmp_path):
    families.narrow(monkeypatch)
    model = small(neuron={"threshold": 0.2})
    loss = keras_dep.MeanLogitCrossentropy()
    # TensorFlow compiles faster without XLA; JAX has only XLA.
    jit = keras.backend.backend() == "jax"
    model.compile(keras_dep.DEP(keras.optimizers.SGD(0.1)), loss=loss, jit_compile=jit)
    before = model.get_weights()
    model.fit(images(8), np.arange(8) % 10, batch_size=8, verbose=0)
    moved = [(one != other).any() for one, other in zip(before, model.get_weights())]
    assert np.mean(moved) > 0.9
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        model.predict_on_batch(images()), loaded.predict_on_batch(images())
    )


@pytest.mark.parametrize("size", [8, 12, 28])
def test_maps_of_any_size_reach_the_logits_in_a_compiled_model(size, monkeypatch):
    """The last maps are 2, 3 and 7 pixels wide; those of 32 x 32 pixels in VGG-11 one."""
    families.narrow(monkeypatch)
    options = {"num_classes": 3, "timesteps": 1, "neuron": {"threshold": 0.05}}
    model = models.build("vgg5", input_shape=(size, size, 1), **options)
    draw = np.random.default_rng(0).random((2, size, size, 1)).astype("float32")
    logits = model.predict(draw, verbose=0)
    assert np.isfinite(logits).all() and np.ptp(logits) > 0


@pytest.mark.parametrize("normalization", ["stepwise", "merged"])
def test_repeating_after_the_first_normalisation_changes_nothing(normalization):
    """The reference repeats the image first: training mode, and the statistics it leaves."""
    model = small(normalization=normalization)
    layers = {type(layer).__name__: layer for layer in reversed(model.layers)}
    convolution, normalise = layers["Conv2D"], layers["MergedBatchNormalization"]
    if normalization == "stepwise":
        reference = keras_dep.layers.StepwiseBatchNormalization(2, momentum=0.9, epsilon=1e-5)
    else:
        reference = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)
    # The pixel normalisation is the identity here.
    first = convolution(images())
    late = np.tile(
        ops.convert_to_numpy(ops.stop_gradient(normalise(first, training=True))), (2, 1, 1, 1)
    )
    repeated = keras_dep.DirectEncoding(2)(first)
    early = ops.convert_to_numpy(ops.stop_gradient(reference(repeated, training=True)))
    np.testing.assert_allclose(late, early, atol=1e-5)
    for one, other in zip(normalise.get_weights(), reference.get_weights()):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(timesteps=0), "timesteps must be an integer of at least 1; received 0"),
        (dict(num_classes=1), "num_classes must be at least 2; received 1"),
        (dict(input_shape=(8, 8)), "input_shape must be three positive sizes"),
        (dict(encoder="phase"), "encoder must be one of direct, rate, .*; received 'phase'"),
        (dict(normalization="none"), "normalization must be one of stepwise, merged"),
        (dict(std=0.0), "std must be positive; received 0.0"),
        (dict(neuron={"tau": 0.5}), "tau must be at least 1"),
    ],
    ids=str,
)
def test_bad_input(options, message):
    with pytest.raises(ValueError, match=message):
        models.build("vgg5", **{"input_shape": (8, 8, 1), "num_classes": 10, **options})


def test_unknown_name():
    with pytest.raises(ValueError, match="model must be one of vgg5.*'vgg6'"):
        models.build("vgg6", input_shape=(8, 8, 1), num_classes=10)
