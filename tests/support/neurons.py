"""Neurons against a transcription of their equations: spikes, gradient, Hessian times a vector."""

import keras
import numpy as np
from keras import ops

from keras_dep.curvature.operators import Hessian
from keras_dep.layers import Folded
from tests.support import hyper_dual

T, UNITS, WIDTH = 4, 2, 0.5
# The constants of all neurons that are compared, and of `lif`.
CONSTANTS = {"tau": 2.0, "threshold": 0.8, "surrogate": "arctan", "width": WIDTH}
DECAY, THRESHOLD = 0.5, 0.8


def step(membrane, current, decay=DECAY, threshold=THRESHOLD, reset="hard"):
    """One step of one neuron: the membrane after the reset, the potential, and the spike."""
    potential = decay * membrane + current
    fired = hyper_dual.spike(potential - threshold, WIDTH)
    if reset == "soft":
        return potential - threshold * fired, potential, fired
    return (fired * -1.0 + 1.0) * potential, potential, fired


def behind_currents(*layers):
    """A model whose first kernel `(T, UNITS)` is the currents of its neurons, for one sample."""
    dense = keras.layers.Dense(UNITS, use_bias=False, dtype="float32")
    return keras.Sequential([keras.Input((T,)), Folded(T), dense, *layers])


def compare(layers, spikes, weights=(), policy_rtol=2e-4, seed=0):
    """Asserts that layers agree with `spikes`.

    Args:
        layers: the neurons, and what follows them.
        spikes: function `(currents, weights)` to outputs: nested lists `[t][unit]` of numbers, from
            currents `[t][unit]` and a flat list of the weights.
        weights: arrays, the trainable weights of the layers.
        policy_rtol: relative tolerance of derivatives.
        seed: seed of the currents.
    """
    model = behind_currents(*layers)
    draw = np.random.default_rng(seed)
    # Of few binary places, so that half precision holds them.
    kernel = np.round(draw.normal(0.6, 0.5, (T, UNITS)) * 32) / 32
    for variable, value in zip(model.trainable_variables, [kernel, *weights], strict=True):
        variable.assign(value)
    point = [ops.convert_to_numpy(v).ravel() for v in model.trainable_variables]
    point = np.concatenate(point).astype("float64")
    vector = draw.standard_normal(len(point))

    def outputs(numbers):
        currents = [numbers[t * UNITS : (t + 1) * UNITS] for t in range(T)]
        return spikes(currents, numbers[T * UNITS :])

    def loss(numbers):
        errors = [each - 0.3 for row in outputs(numbers) for each in row]
        return sum(error * error for error in errors) * (1.0 / len(errors))

    one = np.eye(T, dtype="float32")
    expected = [[each.value.item() for each in row] for row in outputs(_constants(point))]
    found = np.asarray(model.predict_on_batch(one), "float32")
    np.testing.assert_array_equal(found, expected)
    assert 0 < np.mean(found > 0) < 1

    def error(y, spikes):
        return ops.mean(ops.square(ops.cast(spikes, "float32") - y))

    target = np.full((T, UNITS), 0.3, "float32")
    hessian = Hessian(model, error)
    for found, wanted in zip(
        (hessian.gradient(one, target), hessian.at(one, target)(vector.astype("float32"))),
        hyper_dual.derivatives(loss, point, vector),
    ):
        assert np.abs(wanted).max() > 1e-3
        atol = 0.2 * policy_rtol * np.abs(wanted).max()
        found = ops.convert_to_numpy(found)
        np.testing.assert_allclose(found, wanted, rtol=policy_rtol, atol=atol)


def _constants(point):
    return [hyper_dual.Dual(each) for each in point]


def loaded(model, path):
    """A model saved and loaded, whose weights are those of the first."""
    model.save(path)
    again = keras.saving.load_model(path)
    for one, other in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(model.layers, again.layers, strict=True):
        assert one.get_config() == other.get_config()
    return again
