"""Networks of a user's own neurons, encoders, and layers behind the spikes."""

import functools

import keras
import numpy as np
import pytest

from keras_dep import LIF
from keras_dep import models
from keras_dep.layers import time_axis


@keras.saving.register_keras_serializable("tests")
class OwnNeuron(LIF):
    """Neurons of a class of their own."""


@keras.saving.register_keras_serializable("tests")
class HalfSpikes(keras.layers.Layer):
    """Half of each spike."""

    def __init__(self, timesteps, **kwargs):
        super().__init__(**kwargs)
        self.timesteps = timesteps

    def call(self, inputs):
        return inputs / 2

    def get_config(self):
        return {**super().get_config(), "timesteps": self.timesteps}


@keras.saving.register_keras_serializable("tests")
class FadingEncoding(keras.layers.Layer):
    """The image, darker at each step."""

    def __init__(self, timesteps, **kwargs):
        super().__init__(**kwargs)
        self.timesteps = timesteps

    def call(self, inputs):
        frames = [inputs / 2**step for step in range(self.timesteps)]
        return time_axis.fold(keras.ops.stack(frames))

    def compute_output_shape(self, input_shape):
        return (None, *input_shape[1:])

    def get_config(self):
        return {**super().get_config(), "timesteps": self.timesteps}


PARTS = {
    "neuron": functools.partial(OwnNeuron, tau=2.0),
    "after_spikes": HalfSpikes,
    "encoder": FadingEncoding,
}


@pytest.mark.parametrize("name", ["vgg5", "resnet18"])
def test_a_network_of_own_parts_survives_saving(name, tmp_path):
    model = models.build(
        name, input_shape=(32, 32, 1), num_classes=3, timesteps=2, mean=0.5, std=0.25, **PARTS
    )
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds.count("OwnNeuron") == kinds.count("HalfSpikes") > 0 and "LIF" not in kinds
    assert kinds[1:3] == ["FadingEncoding", "Normalization"] and "DirectEncoding" not in kinds
    assert {layer.tau for layer in model.layers if isinstance(layer, LIF)} == {2.0}
    x = np.random.default_rng(0).random((2, 32, 32, 1), "float32")
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    answers = [each.predict_on_batch(x) for each in (model, loaded)]
    assert answers[0].shape == (2, 2, 3)
    np.testing.assert_array_equal(*answers)


def test_the_counterpart_of_relus_takes_the_encoder_alone():
    options = {"input_shape": (8, 8, 1), "num_classes": 3, "timesteps": 2, **PARTS}
    kinds = {type(each).__name__ for each in models.build("vgg5", spiking=False, **options).layers}
    assert "FadingEncoding" in kinds and not kinds & {"OwnNeuron", "HalfSpikes"}


def test_normalisation_is_scaled_to_the_threshold_of_own_neuron():
    neuron = functools.partial(LIF, threshold=0.5)
    options = {"input_shape": (8, 8, 1), "num_classes": 3, "timesteps": 2}
    one, other = (
        models.build("vgg5", normalization="tdbn", neuron=each, **options).get_config()
        for each in (neuron, {"threshold": 0.5})
    )
    assert [each["config"] for each in one["layers"]] == [
        each["config"] for each in other["layers"]
    ]
