"""A user's neurons, layers on spikes and encoders in every family."""

import functools

import keras
import numpy as np
import pytest
from keras import ops

import keras_dep
from keras_dep import models
from keras_dep.layers import SpikingLayer
from keras_dep.layers import time_axis
from tests.support import families
from tests.support.families import FAMILIES

SIZE, CLASSES, T = 8, 3, 2


@keras.saving.register_keras_serializable(package="tests.builder")
class Memoryless(SpikingLayer):
    """Fires where `gain` times the current reaches the threshold."""

    def __init__(self, timesteps, gain=2.0, **options):
        super().__init__(timesteps, **options)
        self.gain = gain

    def distances(self, inputs):
        return self.gain * inputs - self.threshold

    def get_config(self):
        return {**super().get_config(), "gain": self.gain}


@keras.saving.register_keras_serializable(package="tests.builder")
class Gate(time_axis.Timewise):
    """Scales the spikes of each channel by a weight."""

    def __init__(self, timesteps, share=0.5, **options):
        super().__init__(timesteps, **options)
        self.share = share
        self.built = False

    def build(self, shape):
        start = keras.initializers.Constant(self.share)
        self.gate = self.add_weight(shape=(shape[-1],), initializer=start, name="gate")
        self.built = True

    def call(self, inputs):
        return inputs * self.gate

    def compute_output_shape(self, shape):
        return tuple(shape)

    def get_config(self):
        return {**super().get_config(), "share": self.share}


@keras.saving.register_keras_serializable(package="tests.builder")
class Fading(keras.layers.Layer):
    """Frame `t` of an image is the image times `rate**t`, in a layer that is not `Timed`."""

    def __init__(self, timesteps, rate=0.5, **options):
        super().__init__(**options)
        self.timesteps = timesteps
        self.rate = rate

    def call(self, inputs):
        return ops.concatenate([inputs * self.rate**t for t in range(self.timesteps)])

    def compute_output_shape(self, shape):
        return (None, *shape[1:])

    def get_config(self):
        return {**super().get_config(), "timesteps": self.timesteps, "rate": self.rate}


OWN = {
    "neuron": functools.partial(Memoryless, gain=3.0, threshold=0.4),
    "after_spikes": functools.partial(Gate, share=0.7),
    "encoder": functools.partial(Fading, rate=0.6),
}


@pytest.fixture
def build(monkeypatch):
    families.narrow(monkeypatch)

    def build(name, **options):
        defaults = {"input_shape": (SIZE, SIZE, 2), "num_classes": CLASSES, "timesteps": T}
        return models.build(name, **{**defaults, **options})

    return build


def images():
    return np.random.default_rng(0).random((3, SIZE, SIZE, 2)).astype("float32")


def drawn_weights(model):
    draw = np.random.default_rng(1)
    return [w + 0.3 * draw.random(w.shape).astype("float32") for w in model.get_weights()]


@pytest.mark.parametrize("name", ["vgg5", "resnet18"])
def test_own_layers_survive_saving(name, build, tmp_path):
    model = build(name, **OWN)
    model.set_weights(drawn_weights(model))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    expected = model.predict_on_batch(images())
    assert np.ptp(expected) > 0
    np.testing.assert_array_equal(loaded.predict_on_batch(images()), expected)
    assert loaded.get_layer("lif1").gain == 3.0
    assert loaded.get_layer("encoder").rate == 0.6
    assert loaded.get_layer("after_spikes1").share == 0.7


@pytest.mark.parametrize("name", FAMILIES)
def test_own_layers_stand_in_every_family(name, build):
    plain, model = build(name), build(name, **OWN)
    count = sum(isinstance(layer, keras_dep.LIF) for layer in plain.layers)
    neurons = [layer for layer in model.layers if isinstance(layer, Memoryless)]
    gates = [layer for layer in model.layers if isinstance(layer, Gate)]
    assert [layer.name for layer in neurons] == [f"lif{place + 1}" for place in range(count)]
    assert not any(isinstance(layer, keras_dep.LIF) for layer in model.layers)
    # Each gate reads the spikes of one neuron layer, and no other layer reads them.
    for neuron, gate in zip(neurons, gates, strict=True):
        assert gate.input is neuron.output
    for layer in model.layers:
        inputs = layer.input if isinstance(layer.input, list) else [layer.input]
        if not isinstance(layer, Gate):
            assert not any(tensor is neuron.output for tensor in inputs for neuron in neurons)
    assert model.output_shape == (None, T, CLASSES)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_ann_counterpart_has_the_encoder_alone(name, build):
    model = build(name, **OWN, spiking=False)
    kinds = (Memoryless, Gate, keras_dep.LIF)
    assert not any(isinstance(layer, kinds) for layer in model.layers)
    assert isinstance(model.get_layer("encoder"), Fading)
    plain = build(name, spiking=False)
    assert [w.path for w in model.weights] == [w.path for w in plain.weights]


@pytest.mark.parametrize("normalization", ["stepwise", "merged"])
def test_frames_of_an_encoder_are_normalised_as_frames_of_events(normalization, build):
    options = {"mean": [0.3, 0.4], "std": [0.5, 0.2], "normalization": normalization}
    encoded = build("vgg5", encoder=OWN["encoder"], **options)
    events = build("vgg5", encoder="events", **options)
    weights = drawn_weights(encoded)
    encoded.set_weights(weights)
    events.set_weights(weights)
    frames = np.stack([images(), images() * 0.6], axis=1).astype("float32")
    expected = events.predict_on_batch(frames)
    assert np.ptp(expected[:, 0] - expected[:, 1]) > 0
    np.testing.assert_allclose(encoded.predict_on_batch(images()), expected, atol=1e-5)


def test_spikes_of_an_encoder_are_not_normalised(build):
    model = build("vgg5", encoder=functools.partial(keras_dep.RateEncoding, law="poisson"))
    assert [layer.name for layer in model.layers][:3] == ["image", "encoder", "conv1"]
    assert model.get_layer("encoder").law == "poisson"


def test_a_factory_of_lif_equals_its_dictionary(build):
    constants = {"tau": 2.0, "threshold": 0.3, "reset": "hard"}
    one = build("vgg5", neuron=constants, normalization="tdbn")
    other = build(
        "vgg5", neuron=functools.partial(keras_dep.LIF, **constants), normalization="tdbn"
    )
    np.testing.assert_allclose(other.get_layer("norm1").get_weights()[0], 0.3)
    other.set_weights(one.get_weights())
    found, expected = (model.predict_on_batch(images()) for model in (other, one))
    np.testing.assert_array_equal(found, expected)


def test_a_gate_of_one_changes_nothing_and_of_zero_leaves_the_bias(build):
    plain = build("vgg5", neuron={"threshold": 0.3})
    expected = plain.predict_on_batch(images())
    assert np.ptp(expected) > 0
    for share in (1.0, 0.0):
        gate = functools.partial(Gate, share=share)
        gated = build("vgg5", neuron={"threshold": 0.3}, after_spikes=gate)
        weights = {w.path: ops.convert_to_numpy(w) for w in plain.weights}
        for weight in gated.weights:
            if weight.path in weights:
                weight.assign(weights[weight.path])
        wanted = expected if share else np.zeros_like(expected)
        np.testing.assert_array_equal(gated.predict_on_batch(images()), wanted)


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(neuron="lif"), r"neuron must be a dictionary .* or a callable .*; received 'lif'"),
        (dict(neuron={"timesteps": 3}), "neuron must leave timesteps to the network; received"),
        (dict(neuron=lambda **_: 3), "neuron must make a keras.layers.Layer; received 3 from"),
        (dict(after_spikes=0.5), "after_spikes must be a callable .*; received 0.5"),
        (dict(after_spikes=keras.layers.ReLU()), "after_spikes must be a callable .*ReLU"),
        (dict(encoder=keras_dep.DirectEncoding(T)), "encoder must be one of direct, .* callable"),
    ],
    # Addresses of functions differ between the workers of a run.
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_bad_input(options, message, build):
    with pytest.raises(ValueError, match=message):
        build("vgg5", **options)
