"""Rates, silent neurons, membranes and operations against counts by hand in NumPy."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_dep
from keras_dep import models
from keras_dep.models import vgg
from keras_dep.profiling import ActivityProbe
from keras_dep.profiling.activity import EDGES

T, BATCH = 3, 5


@pytest.fixture(scope="module")
def counted():
    """A network of one convolution and one dense layer, and its `(activity, currents, spikes)`."""
    x = np.random.default_rng(0).random((BATCH, 6, 6, 2)).astype("float32")
    inputs = keras.Input((6, 6, 2))
    convolution = keras.layers.Conv2D(3, 3, padding="same", name="convolution")
    neurons = keras_dep.LIF(T, tau=2.0, threshold=0.3, width=0.5, name="neurons")
    repeated = keras_dep.DirectEncoding(T)(convolution(inputs))
    spikes = neurons(repeated)
    pooled = keras.layers.Flatten()(keras.layers.AveragePooling2D(2)(spikes))
    outputs = keras.layers.Dense(4, name="head")(pooled)
    model = keras.Model(inputs, [outputs, repeated, spikes, pooled])
    tensors = [ops.convert_to_numpy(ops.stop_gradient(value)) for value in model(x)]
    return ActivityProbe(keras.Model(inputs, outputs))(x), *tensors[1:]


def test_rates_and_silent_neurons(counted):
    activity, _, spikes, _ = counted
    neurons = activity.layers[1]
    assert (neurons.name, neurons.neurons, neurons.parameters) == ("neurons", 108, 0)
    assert neurons.rate == pytest.approx(spikes.mean(), abs=1e-6)
    assert neurons.dead == pytest.approx((spikes.sum(axis=0) == 0).mean(), abs=1e-6)
    assert neurons.saturated == pytest.approx((spikes.min(axis=0) == 1).mean(), abs=1e-6)
    assert 0 < neurons.rate < 1 and 0 < neurons.dead < 1
    assert (activity.spike_rate, activity.dead) == (neurons.rate, neurons.dead)


def test_the_membrane_near_the_threshold(counted):
    activity, currents, spikes, _ = counted
    membrane, distances = 0, []
    for current, fired in zip(*(a.reshape(T, BATCH, -1) for a in (currents, spikes))):
        potential = 0.5 * membrane + current
        distances.append((potential - 0.3) / 0.5)
        membrane = potential - 0.3 * fired
    edges = [-np.inf, *EDGES, np.inf]
    expected = np.histogram(np.ravel(distances), edges)[0] / np.size(distances)
    np.testing.assert_allclose(activity.layers[1].membrane, expected, atol=1e-6)
    near = np.mean(np.abs(distances) < 1)
    assert activity.layers[1].near_threshold == pytest.approx(near, abs=1e-6)


def test_operations_and_energy(counted):
    activity, _, _, pooled = counted
    convolution, _, head = activity.layers
    # 6 x 6 pixels, 3 x 3 x 2 weights for each of 3 channels, once; 27 inputs and 4 outputs.
    multiplications = 36 * 18 * 3
    accumulates = np.count_nonzero(pooled) * 4 / BATCH
    assert (convolution.multiplications, convolution.accumulates) == (multiplications, 0)
    assert (head.multiplications, head.accumulates) == (0, pytest.approx(accumulates, rel=1e-5))
    assert (convolution.parameters, head.parameters) == (57, 112)
    energy = 4.6 * multiplications + 0.9 * accumulates
    assert activity.energy == pytest.approx(energy, rel=1e-5)
    assert activity.dense_energy == pytest.approx(4.6 * (multiplications + 27 * 4))
    assert activity.energy_ratio == pytest.approx(energy / activity.dense_energy)
    table = str(activity)
    assert all(layer.name in table for layer in activity.layers)
    assert len(table.splitlines()) == 5


def test_silent_and_saturated_layers():
    x = np.full((2, 8), 0.2, "float32")
    inputs = keras.Input((8,))
    quiet = keras_dep.IF(T)(keras_dep.DirectEncoding(T)(inputs))
    loud = keras_dep.IF(T, threshold=0.1)(keras_dep.DirectEncoding(T)(inputs))
    first, second = ActivityProbe(keras.Model(inputs, [quiet, loud]))(x).layers
    assert (first.rate, first.dead, first.saturated) == (0, 1, 0)
    assert (second.rate, second.dead, second.saturated) == (1, 0, 1)


def test_potentials_that_are_not_finite_have_no_rate():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), keras_dep.LIF(timesteps=1)])
    model.layers[0].bias.assign([np.nan, 0.0])
    activity = ActivityProbe(model)(np.ones((4, 3), "float32"))
    assert np.isnan(activity.spike_rate) and np.isnan(activity.dead)


def test_what_counts_as_spikes_and_the_twin(monkeypatch):
    monkeypatch.setitem(vgg.STAGES, "vgg5", (2, "M", 3))
    options = {"input_shape": (4, 4, 1), "num_classes": 2, "timesteps": 2}
    x = np.random.default_rng(0).random((2, 4, 4, 1)).astype("float32")
    rates = ActivityProbe(models.build("vgg5", encoder="rate", **options))(x)
    assert rates.multiplications == 0 < rates.accumulates
    twin = ActivityProbe(models.build("vgg5", spiking=False, **options))(x)
    assert twin.accumulates == 0 and twin.spike_rate is None
    assert twin.energy == twin.dense_energy == rates.dense_energy
    assert twin.energy_ratio == 1


def test_a_model_that_is_no_graph():
    class Subclassed(keras.Model):
        pass

    with pytest.raises(ValueError, match="model must be a functional or sequential.*Subclassed"):
        ActivityProbe(Subclassed())
