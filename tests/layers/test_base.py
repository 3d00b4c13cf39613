"""Attacks, evaluation and profiling find a user's neuron that derives from `SpikingLayer`."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_dep import DirectEncoding
from keras_dep import UnfoldTime
from keras_dep.attacks import FGSM
from keras_dep.evaluation import coverage
from keras_dep.evaluation import metadata
from keras_dep.layers import LIF
from keras_dep.layers import SpikingLayer
from keras_dep.layers import surrogate_of
from keras_dep.layers import time_axis
from keras_dep.layers.overrides import spiking_layers
from keras_dep.profiling import ActivityProbe

T = 2


@keras.saving.register_keras_serializable(package="tests")
class Binary(SpikingLayer):
    CONSTANTS = (*SpikingLayer.CONSTANTS, "gain")

    def __init__(self, timesteps, gain=2.0, **options):
        super().__init__(timesteps, **options)
        self.gain = gain

    def distances(self, inputs):
        return self.gain * inputs - self.threshold

    def get_config(self):
        return {**super().get_config(), "gain": self.gain}


class OnlyAttributes(keras.layers.Layer):
    surrogate, width, timesteps, threshold = "triangle", 1.0, T, 1.0

    def call(self, inputs):
        return inputs


def network(neurons):
    keras.utils.set_random_seed(0)
    body = [keras.layers.Dense(6), DirectEncoding(T), neurons, keras.layers.Dense(3), UnfoldTime(T)]
    return keras.Sequential([keras.Input((4,)), *body])


def data():
    draw = np.random.default_rng(0)
    return draw.random((5, 4), "float32"), draw.integers(0, 3, 5).astype("int32")


def test_a_neuron_that_says_only_its_distance():
    layer = Binary(T, threshold=0.5, surrogate="arctan", width=0.7)
    x = np.array([[0.2], [0.25], [0.3], [np.nan]], "float32")
    spikes = ops.convert_to_numpy(layer(x))
    np.testing.assert_array_equal(spikes, [[0], [1], [1], [np.nan]])
    again = Binary.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert (again.threshold, again.surrogate, again.width, again.gain) == (0.5, "arctan", 0.7, 2.0)


def test_a_neuron_of_ones_own_is_found():
    model = network(Binary(T, threshold=0.1))
    assert [type(layer) for layer in spiking_layers(model)] == [Binary]
    assert surrogate_of(model) == "triangle, width 1"
    assert coverage.unknown_layers(model) == []
    assert coverage.layers_without_estimator(model) == ["Binary"]
    (described,) = metadata.describe(model)["neurons"]
    assert described == {
        "neuron": "Binary",
        "timesteps": T,
        "threshold": 0.1,
        "surrogate": "triangle",
        "width": 1.0,
        "gain": 2.0,
        "layers": 1,
    }
    x, y = data()
    other = network(Binary(T, threshold=0.1, surrogate="arctan"))
    found = ops.convert_to_numpy(FGSM(epsilon=0.1, surrogate="arctan").gradient(model, x, y))
    wanted = ops.convert_to_numpy(FGSM(epsilon=0.1).gradient(other, x, y))
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-8)
    assert np.abs(found).max() > 0


def test_the_probe_measures_it():
    model = network(Binary(T, threshold=0.1))
    x, _ = data()
    _, neurons, read = ActivityProbe(model)(x).layers
    inner = keras.Model(model.inputs[0], model.layers[2].output)
    assert neurons.kind == "Binary"
    assert neurons.rate == pytest.approx(inner.predict_on_batch(x).mean(), abs=1e-6)
    assert read.accumulates > 0 and read.multiplications == 0


def test_attributes_alone_make_no_neuron():
    model = network(OnlyAttributes())
    assert spiking_layers(model) == []
    assert coverage.unknown_layers(model) == ["OnlyAttributes"]
    assert metadata.describe(model)["neurons"] == []


def test_layers_of_the_package_are_typed():
    assert issubclass(LIF, SpikingLayer) and issubclass(SpikingLayer, time_axis.Timed)
    assert LIF(T).takes_estimator and not Binary(T).takes_estimator


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(timesteps=0), "timesteps must be an integer of at least 1; received 0"),
        (dict(timesteps=1, threshold=0), "threshold must be positive and finite; received 0"),
        (dict(timesteps=1, surrogate="box"), "surrogate must be one of"),
        (dict(timesteps=1, width=-1), "width must be a positive finite number"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        Binary(**options)


def test_a_neuron_without_distances_is_refused():
    with pytest.raises(NotImplementedError, match="distances.inputs. must be overridden"):
        SpikingLayer(1).distances(ops.ones((1, 1)))
