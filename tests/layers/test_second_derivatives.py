"""Hessian-vector products of neurons against hyper-dual numbers in NumPy's double precision."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_dep import LIF
from keras_dep import PLIF
from keras_dep.curvature.operators import Hessian
from keras_dep.layers import Folded

T, UNITS, WIDTH = 4, 2, 0.5
CASES = [
    (LIF, dict(reset="soft")),
    (LIF, dict(reset="hard")),
    (LIF, dict(reset="hard", detach_reset=True)),
    (PLIF, dict(reset="soft", learn_threshold=True)),
    (PLIF, dict(reset="hard", learn_threshold=True)),
]


class Dual:
    """`value + a e + b f + c e f` with `e^2 = f^2 = 0`: derivatives of first and second order."""

    def __init__(self, value, a=0.0, b=0.0, c=0.0):
        self.parts = np.array(np.broadcast_arrays(value, a, b, c), "float64")

    def __add__(self, other):
        other = other if isinstance(other, Dual) else Dual(other)
        return Dual(*(self.parts + other.parts))

    def __mul__(self, other):
        other = other if isinstance(other, Dual) else Dual(other)
        (x, a, b, c), (y, p, q, r) = self.parts, other.parts
        return Dual(x * y, a * y + x * p, b * y + x * q, c * y + a * q + b * p + x * r)

    def through(self, value, first, second):
        """A function of this number, given its value and two derivatives."""
        _, a, b, c = self.parts
        return Dual(value, first * a, first * b, first * c + second * a * b)


def spike(distance):
    """The step, with the derivatives of arctan at half the usual steepness."""
    z = np.pi / 2 * distance.parts[0] / WIDTH
    first = 0.5 / (1 + z**2) / WIDTH
    second = -z / (1 + z**2) ** 2 * np.pi / 2 / WIDTH**2
    return distance.through((distance.parts[0] >= 0).astype(float), first, second)


def exponential(x):
    value = np.exp(x.parts[0])
    return x.through(value, value, value)


def sigmoid(x):
    s = 1 / (1 + np.exp(-x.parts[0]))
    return x.through(s, s * (1 - s), s * (1 - s) * (1 - 2 * s))


def loss(currents, decay, threshold, reset, detach_reset=False, **_):
    """Mean square of spikes minus 0.3."""
    total, v = Dual(0.0), Dual(0.0)
    for current in currents:
        u = decay * v + current
        s = spike(u + threshold * -1.0)
        error = s + -0.3
        total = total + error * error
        fed = Dual(s.parts[0]) if detach_reset else s
        v = u + threshold * fed * -1.0 if reset == "soft" else (fed * -1.0 + 1.0) * u
    return total.parts[3].sum() / (T * UNITS)


PRECISIONS = {"float32": 2e-4, "float64": 1e-12, "mixed_float16": 2e-3, "mixed_bfloat16": 2e-2}


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("kind, options", CASES, ids=str)
def test_products_are_exact(kind, options, precision):
    double = precision == "float64"
    # Half precision rounds currents and spikes, not the membrane.
    policy = "float32" if double else precision
    constants = {"tau": 2.0, "threshold": 0.8, "surrogate": "arctan", "width": WIDTH}
    neurons = kind(T, dtype=policy, **constants, **options)
    # Inputs are rows of the identity, so the kernel is the currents.
    dense = keras.layers.Dense(UNITS, use_bias=False)
    model = keras.Sequential([keras.Input((T,)), Folded(T), dense, neurons])
    draw = np.random.default_rng(0)
    kernel = np.round(draw.normal(0.6, 0.5, (T, UNITS)) * 32) / 32
    weights = [kernel, [-0.2], [np.log(0.9)]][: len(model.weights)]
    model.set_weights([np.asarray(weight) for weight in weights])
    # The weights in single precision.
    weights = [np.asarray(weight, "float32").astype("float64") for weight in weights]
    flat = np.concatenate([np.ravel(weight) for weight in weights])
    vector = draw.standard_normal(len(flat))

    def entry(place):
        unit = np.eye(len(flat))[place]
        numbers = [Dual(*number) for number in zip(flat, unit, vector)]
        constants = [Dual(0.5), Dual(0.8)]
        if kind is PLIF:
            constants = [sigmoid(numbers[-2] * -1.0), exponential(numbers[-1])]
        columns = [numbers[unit : T * UNITS : UNITS] for unit in range(UNITS)]
        return sum(loss(column, *constants, **options) for column in columns)

    expected = np.array([entry(place) for place in range(len(flat))])
    assert np.abs(expected).min() > 1e-4
    wanted = np.full((T, UNITS), 0.3, "float64" if double else "float32")

    def error(y, spikes):
        return ops.mean(ops.square(ops.cast(spikes, wanted.dtype.name) - y))

    hessian = Hessian(model, error, dtype="float64" if double else None)
    product = hessian.at(np.eye(T, dtype="float32"), wanted)
    found = ops.convert_to_numpy(product(vector.astype(wanted.dtype)))
    rtol = PRECISIONS[precision]
    np.testing.assert_allclose(
        found, expected, rtol=rtol, atol=0.05 * rtol * np.abs(expected).max()
    )
