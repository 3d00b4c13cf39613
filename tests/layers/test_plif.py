"""PLIF with fixed weights against LIF, and the gradients of its weights against NumPy."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_dep import DEP
from keras_dep import LIF
from keras_dep import PLIF
from keras_dep.layers import Folded

T, BATCH, HEIGHT, CHANNELS = 5, 3, 2, 4
SHAPES = {"layer": (), "channel": (1, CHANNELS), "neuron": (HEIGHT, CHANNELS)}


def currents(seed=0):
    draw = np.random.default_rng(seed).normal(0.6, 0.5, (T * BATCH, HEIGHT, CHANNELS))
    return draw.astype("float32")


def network(**options):
    return keras.Sequential([keras.Input((HEIGHT, CHANNELS)), Folded(T), PLIF(T, **options)])


def gradients(model, x, weighting):
    """Gradients of the mean of weighted spikes, from one step of gradient descent."""
    before = model.get_weights()
    model.compile(keras.optimizers.SGD(1.0), lambda y, s: ops.mean(y * s))
    model.fit(x, weighting, batch_size=len(x), shuffle=False, verbose=0)
    steps = [old - new for old, new in zip(before, model.get_weights())]
    model.set_weights(before)
    return steps


@pytest.mark.parametrize("reset", ["soft", "hard"])
@pytest.mark.parametrize("tau, threshold", [(1.1, 1.0), (2.0, 0.7), (50.0, 1.3)])
def test_starts_as_lif(tau, threshold, reset):
    options = {"tau": tau, "threshold": threshold, "reset": reset}
    found = network(learn_threshold=True, **options)(currents())
    expected = LIF(T, **options)(currents())
    # Spikes of potentials within rounding of the threshold may differ; here there are none.
    np.testing.assert_array_equal(ops.convert_to_numpy(found), ops.convert_to_numpy(expected))


@pytest.mark.parametrize("shared_by", SHAPES)
def test_each_weight_is_that_of_its_neurons(shared_by):
    model = network(shared_by=shared_by, learn_threshold=True)
    layer, shape = model.layers[-1], SHAPES[shared_by]
    draw = np.random.default_rng(1)
    taus, thresholds = draw.uniform(1.2, 4, shape), draw.uniform(0.5, 1.5, shape)
    layer.set_weights([-np.log(taus - 1).ravel(), np.log(thresholds).ravel()])
    np.testing.assert_allclose(layer.time_constants(), taus, rtol=1e-5)
    found = ops.convert_to_numpy(model(currents()))
    every = (
        np.broadcast_to(taus, (HEIGHT, CHANNELS)),
        np.broadcast_to(thresholds, (HEIGHT, CHANNELS)),
    )
    for place in np.ndindex(HEIGHT, CHANNELS):
        alone = LIF(T, tau=every[0][place], threshold=every[1][place])
        expected = ops.convert_to_numpy(alone(currents()[(slice(None), *place)]))
        np.testing.assert_array_equal(found[(slice(None), *place)], expected)


def test_gradients_equal_forward_differentiation():
    """The same gradients by a NumPy loop with forward derivatives of the membrane."""
    tau, threshold = 2.5, 0.8
    model = network(tau=tau, threshold=threshold, learn_threshold=True)
    weighting = np.random.default_rng(2).standard_normal((T * BATCH, HEIGHT, CHANNELS))
    decay = 1 - 1 / tau
    # d decay / d leak, and d threshold / d log threshold.
    slopes = np.array([-decay * (1 - decay), threshold]).reshape(2, 1, 1, 1)
    v, dv = np.zeros((BATCH, HEIGHT, CHANNELS)), np.zeros((2, BATCH, HEIGHT, CHANNELS))
    expected = np.zeros(2)
    for x, weight in zip(currents().reshape(T, BATCH, HEIGHT, CHANNELS), np.split(weighting, T)):
        du = decay * dv + np.stack([v, 0 * v]) * slopes[:1] * [[[[1]]], [[[0]]]]
        u = decay * v + x
        dthreshold = slopes * [[[[0]]], [[[1]]]]
        s = (u >= threshold).astype(float)
        ds = np.maximum(0, 1 - np.abs(u - threshold)) * (du - dthreshold)
        expected += (ds * weight).sum(axis=(1, 2, 3)) / weighting.size
        v, dv = u - threshold * s, du - threshold * ds - dthreshold * s
    found = gradients(model, currents(), weighting.astype("float32"))
    np.testing.assert_allclose(np.ravel(found), expected, atol=1e-6)


@pytest.mark.parametrize("shared_by", ["channel", "neuron"])
def test_the_gradients_of_parts_add_up_to_that_of_the_layer(shared_by):
    weighting = np.random.default_rng(2).standard_normal(currents().shape).astype("float32")
    (whole,) = gradients(network(), currents(), weighting)
    (parts,) = gradients(network(shared_by=shared_by), currents(), weighting)
    assert parts.shape == (np.prod(SHAPES[shared_by]),)
    np.testing.assert_allclose(parts.sum(), whole[0], atol=1e-6)
    assert np.ptp(parts) > 1e-4


def test_channels_first():
    layer = PLIF(T, shared_by="channel", axis=1)
    layer.build((None, CHANNELS, 6, 6))
    assert layer.leak.shape == (CHANNELS,) and layer.time_constants().shape == (CHANNELS, 1, 1)
    assert layer(np.ones((T, CHANNELS, 6, 6), "float32")).shape == (T, CHANNELS, 6, 6)


def test_dep_takes_its_weights_for_no_matrix():
    model = network(shared_by="neuron", learn_threshold=True)
    optimizer = DEP(keras.optimizers.SGD(0.1))
    optimizer.build(model.trainable_variables)
    assert optimizer.projected_paths == ()


def test_saving(tmp_path):
    model = network(shared_by="channel", learn_threshold=True, reset="hard", surrogate="arctan")
    model.layers[-1].set_weights([np.arange(4.0), np.arange(4.0) / 4])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.layers[-1].get_config() == model.layers[-1].get_config()
    found, expected = (ops.convert_to_numpy(m(currents())) for m in (loaded, model))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(tau=1.0), "tau must be above 1 and finite to be learnt; received 1.0; use LIF"),
        (dict(tau=float("inf")), "tau must be above 1 and finite.*received inf"),
        (dict(tau=0.5), "tau must be at least 1"),
        (dict(shared_by="map"), "shared_by must be one of layer, channel, neuron; received 'map'"),
    ],
    ids=str,
)
def test_bad_input(options, message):
    with pytest.raises(ValueError, match=message):
        PLIF(T, **options)


def test_unknown_sizes():
    with pytest.raises(ValueError, match=r"needs known sizes; received.*\(None, None, 3\)"):
        PLIF(T, shared_by="neuron").build((None, None, 3))
    with pytest.raises(ValueError, match="axis must name an axis.*received 0"):
        PLIF(T, shared_by="channel", axis=0).build((None, 8, 3))
    PLIF(T, shared_by="channel").build((None, None, 3))
