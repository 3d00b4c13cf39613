"""The derivative written out against the one that frameworks find, in first and second order."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_dep import LIF
from keras_dep import surrogates
from keras_dep.curvature import Hessian
from keras_dep.neurons import adjoint
from tests.neurons.test_lif import VARIANTS
from tests.neurons.test_lif import currents
from tests.neurons.test_lif import loop


@pytest.mark.parametrize("tau, threshold", [(1.0, 1.0), (2.0, 0.7), (float("inf"), 1.3)])
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_equals_forward_differentiation(variant, tau, threshold):
    x, decay, soft = currents(), 1 - 1 / tau, variant["reset"] == "soft"
    expected, jacobian = loop(x, tau, threshold, **variant)
    weights = np.random.default_rng(1).standard_normal(x.shape)
    x, gradient = (ops.convert_to_tensor(a.astype("float32")) for a in (x, weights))
    spikes, potentials = adjoint.forward(x, decay, threshold, soft)
    np.testing.assert_array_equal(ops.convert_to_numpy(spikes), expected)
    found = adjoint.backward(
        gradient,
        potentials,
        0.0 if variant["detach_membrane"] else decay,
        threshold,
        soft,
        surrogates.derivative("triangle"),
        attached=not variant["detach_reset"],
    )
    wanted = np.einsum("tbu,tkbu->kbu", weights, jacobian)
    np.testing.assert_allclose(ops.convert_to_numpy(found), wanted, atol=2e-5)


def test_second_derivatives_are_the_programs(monkeypatch):
    """A surrogate known by its primitive alone has no derivative written out."""
    for table in ("_PRIMITIVES", "_DERIVATIVES", "_USUAL_WIDTHS"):
        monkeypatch.setattr(surrogates, table, dict(getattr(surrogates, table)))
    surrogates.register("plain", primitive=lambda z: ops.arctan(0.5 * np.pi * z) / np.pi)
    assert surrogates.derivative("plain") is None
    x = np.random.default_rng(0).normal(0.6, 0.5, (6, 3)).astype("float32")
    products = []
    for name in ("arctan", "plain"):
        layers = [keras.layers.Dense(4), LIF(3, tau=2.0, surrogate=name, width=0.5)]
        model = keras.Sequential([keras.Input((3,)), *layers, LIF(3, surrogate=name, width=0.5)])
        kernel = np.random.default_rng(1).normal(0.5, 0.5, (3, 4))
        model.set_weights([kernel, np.zeros(4)])
        wanted = np.full((6, 4), 0.3, "float32")
        product = Hessian(model, lambda y, s: ops.mean(ops.square(s - y))).at(x, wanted)
        vector = np.random.default_rng(2).standard_normal(16).astype("float32")
        products.append(ops.convert_to_numpy(product(ops.convert_to_tensor(vector))))
    assert np.abs(products[0]).max() > 0.1
    np.testing.assert_allclose(*products, rtol=1e-4, atol=1e-6)
