"""Hessian-vector products of neurons against hyper-dual numbers in NumPy's double precision."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_dep import LIF
from keras_dep import PLIF
from keras_dep.curvature.operators import Hessian
from keras_dep.layers import Folded
from tests.support.hyper_dual import Dual
from tests.support.hyper_dual import exponential
from tests.support.hyper_dual import sigmoid
from tests.support.hyper_dual import spike

T, UNITS, WIDTH = 4, 2, 0.5
CASES = [
    (LIF, dict(reset="soft")),
    (LIF, dict(reset="hard")),
    (LIF, dict(reset="hard", detach_reset=True)),
    (PLIF, dict(reset="soft", learn_threshold=True)),
    (PLIF, dict(reset="hard", learn_threshold=True)),
]


def loss(currents, decay, threshold, reset, detach_reset=False, **_):
    """Mean square of spikes minus 0.3."""
    total, v = Dual(0.0), Dual(0.0)
    for current in currents:
        u = decay * v + current
        s = spike(u + threshold * -1.0, WIDTH)
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
