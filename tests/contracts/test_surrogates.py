"""Spikes are exactly 0 or 1; their derivatives are the closed forms of the table."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_dep
from keras_dep import surrogates
from keras_dep.curvature.operators import Hessian
from tests.support import native

POINTS = np.array([-3.0, -0.7, -0.3, -0.01, 0.01, 0.2, 0.45, 0.9, 2.0], "float32")


def _logistic(z):
    return 1 / (1 + np.exp(-z))


FIRST = {
    "triangle": lambda z: np.maximum(0, 1 - np.abs(z)),
    "rectangle": lambda z: (np.abs(z) <= 0.5).astype(float),
    "sigmoid": lambda z: _logistic(z) * (1 - _logistic(z)),
    "arctan": lambda z: 0.5 / (1 + (np.pi * z / 2) ** 2),
    "fast_sigmoid": lambda z: 0.5 / (1 + np.abs(z)) ** 2,
    "piecewise_exponential": lambda z: 0.5 * np.exp(-np.abs(z)),
}
SECOND = {
    "triangle": lambda z: -np.sign(z) * (np.abs(z) < 1),
    "rectangle": lambda z: 0 * z,
    "sigmoid": lambda z: _logistic(z) * (1 - _logistic(z)) * (1 - 2 * _logistic(z)),
    "arctan": lambda z: -((np.pi / 2) ** 2) * z / (1 + (np.pi * z / 2) ** 2) ** 2,
    "fast_sigmoid": lambda z: -np.sign(z) / (1 + np.abs(z)) ** 3,
    "piecewise_exponential": lambda z: -0.5 * np.sign(z) * np.exp(-np.abs(z)),
}


class Spikes(keras.layers.Layer):
    """A diagonal weight per point, so that the Hessian of the loss is diagonal too."""

    def __init__(self, surrogate, width):
        super().__init__()
        self.surrogate, self.width = surrogate, width

    def build(self, input_shape):
        self.offset = self.add_weight(shape=input_shape[1:], initializer="zeros")

    def call(self, x):
        return surrogates.spike(x + self.offset, self.surrogate, self.width)


def _model(surrogate, width):
    return keras.Sequential([keras.Input((len(POINTS),)), Spikes(surrogate, width)])


def _loss(y, s):
    return ops.sum(2 * s + ops.square(s) / 2)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("name", surrogates.names())
def test_forward_is_exactly_the_step(name, dtype):
    extremes = [0.0, 1e-30, -1e-30, 88.0, -88.0, 6e4, -6e4]
    x = np.concatenate([np.random.default_rng(0).normal(size=2000), extremes]).astype("float32")
    x = ops.cast(x, dtype)
    spikes = ops.convert_to_numpy(ops.cast(surrogates.spike(x, name, 0.5), "float32"))
    expected = ops.convert_to_numpy(ops.cast(x, "float32")) >= 0
    np.testing.assert_array_equal(spikes, expected.astype("float32"))


@pytest.mark.parametrize("width", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("name", surrogates.names())
def test_first_derivative(name, width):
    gradient = native.input_gradient(_model(name, width), lambda y, s: 2 * s + ops.square(s) / 2)
    x = POINTS[None]
    found = ops.convert_to_numpy(gradient(ops.convert_to_tensor(x), ops.zeros((1,))))[0]
    fired = (POINTS >= 0).astype(float)
    expected = (2 + fired) * FIRST[name](POINTS / width) / width
    np.testing.assert_allclose(found, expected, atol=1e-5)
    function = surrogates.derivative(name, width)
    if function is not None:
        extremes = np.array([*POINTS, 0.0, 3e38, -3e38], "float32")
        written = ops.convert_to_numpy(function(ops.convert_to_tensor(extremes)))
        with np.errstate(over="ignore"):
            np.testing.assert_allclose(written, FIRST[name](extremes / width) / width, atol=1e-5)


@pytest.mark.parametrize("name", surrogates.names())
def test_second_derivative(name):
    width = 0.8
    product = Hessian(_model(name, width), _loss).at(POINTS[None], np.zeros(1, "float32"))
    found = ops.convert_to_numpy(product(ops.ones((len(POINTS),))))
    z, fired = POINTS / width, (POINTS >= 0).astype(float)
    slope, bend = FIRST[name](z) / width, SECOND[name](z) / width**2
    np.testing.assert_allclose(found, (2 + fired) * bend + slope**2, atol=1e-5)


@pytest.mark.parametrize("name", surrogates.names())
def test_derivatives_are_finite_far_out(name):
    model = keras.Sequential([keras.Input((6,)), Spikes(name, 1.0)])
    gradient = native.input_gradient(model, lambda y, s: s)
    x = np.array([[0.0, 1e-38, 88.0, -88.0, 3e38, -3e38]], "float32")
    found = ops.convert_to_numpy(gradient(ops.convert_to_tensor(x), ops.zeros((1,))))
    assert np.isfinite(found).all()


@pytest.mark.parametrize("name", surrogates.names())
def test_derivative_at_the_threshold_itself(name):
    model = keras.Sequential([keras.Input((1,)), Spikes(name, 0.5)])
    gradient = native.input_gradient(model, lambda y, s: s)
    found = ops.convert_to_numpy(gradient(ops.zeros((1, 1)), ops.zeros((1,))))
    np.testing.assert_allclose(found, [[2 * FIRST[name](0.0)]], atol=1e-6)


@pytest.mark.parametrize("by", ["primitive", "derivative"])
def test_a_surrogate_of_the_user(monkeypatch, by):
    for table in ("_PRIMITIVES", "_DERIVATIVES", "_USUAL_WIDTHS"):
        monkeypatch.setattr(surrogates, table, dict(getattr(surrogates, table)))
    function = {
        "primitive": lambda z: 0.5 * ops.tanh(z),
        "derivative": lambda z: 0.5 * (1 - ops.square(ops.tanh(z))),
    }[by]
    surrogates.register("tanh", usual_width=0.8, **{by: function})
    assert surrogates.names()[-1] == "tanh" and surrogates.usual_width("tanh") == 0.8
    monkeypatch.setitem(FIRST, "tanh", lambda z: 0.5 * (1 - np.tanh(z) ** 2))
    monkeypatch.setitem(SECOND, "tanh", lambda z: -np.tanh(z) * (1 - np.tanh(z) ** 2))
    test_first_derivative("tanh", 0.8)
    test_second_derivative("tanh")
    layer = keras_dep.LIF(2, surrogate="tanh")
    assert layer.width == 0.8 and keras_dep.LIF.from_config(layer.get_config()).width == 0.8
    with pytest.raises(ValueError, match="not taken yet; received 'tanh'"):
        surrogates.register("tanh", primitive=ops.tanh)


def test_bad_input():
    with pytest.raises(ValueError, match="one of primitive and derivative must be given"):
        surrogates.register("none")
    with pytest.raises(ValueError, match="width must be a positive.*0"):
        surrogates.register("none", primitive=ops.tanh, usual_width=0)
    assert "none" not in surrogates.names()
    with pytest.raises(ValueError, match="surrogate must be one of triangle.*'boxcar'"):
        surrogates.spike(ops.ones(1), "boxcar")
    with pytest.raises(ValueError, match="width must be a positive.*-1"):
        surrogates.spike(ops.ones(1), "triangle", -1)
