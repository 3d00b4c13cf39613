"""The derivative by hand against automatic differentiation, in first and second order."""

import weakref

import keras
import numpy as np
import pytest
from keras import ops

from keras_dep import LIF
from keras_dep import PLIF
from keras_dep import surrogates
from keras_dep.curvature.operators import Hessian
from keras_dep.layers import Folded
from keras_dep.layers import lif_gradient
from tests.layers.test_lif import VARIANTS
from tests.layers.test_lif import currents
from tests.layers.test_lif import loop


@pytest.mark.parametrize("tau, threshold", [(1.0, 1.0), (2.0, 0.7), (float("inf"), 1.3)])
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_equals_forward_differentiation(variant, tau, threshold):
    x, decay, soft = currents(), 1 - 1 / tau, variant["reset"] == "soft"
    expected, jacobian = loop(x, tau, threshold, **variant)
    weights = np.random.default_rng(1).standard_normal(x.shape)
    x, gradient = (ops.convert_to_tensor(a.astype("float32")) for a in (x, weights))
    spikes, potentials = lif_gradient.forward(x, decay, threshold, soft)
    np.testing.assert_array_equal(ops.convert_to_numpy(spikes), expected)
    found = lif_gradient.backward(
        gradient,
        potentials,
        decay,
        threshold,
        soft,
        surrogates.derivative("triangle"),
        attached=not variant["detach_reset"],
        carried=not variant["detach_membrane"],
    )
    wanted = np.einsum("tbu,tkbu->kbu", weights, jacobian)
    found = ops.convert_to_numpy(ops.stack(list(found)[::-1]))
    np.testing.assert_allclose(found, wanted, atol=2e-5)


def test_no_gradient_outlives_the_step_behind_it():
    x = ops.convert_to_tensor(currents().astype("float32"))
    _, potentials = lif_gradient.forward(x, 0.5, 1.0, True)
    derivative = surrogates.derivative("triangle")
    found = lif_gradient.backward(ops.ones_like(x), potentials, 0.5, 1.0, True, derivative, True)
    seen = []
    for result in found:
        assert all(earlier() is None for earlier in seen)
        seen.append(weakref.ref(result))
    assert len(seen) == len(x)


@pytest.fixture
def plain(monkeypatch):
    """The arctan surrogate, registered without a derivative."""
    for table in ("_PRIMITIVES", "_DERIVATIVES", "_USUAL_WIDTHS"):
        monkeypatch.setattr(surrogates, table, dict(getattr(surrogates, table)))
    surrogates.register("plain", primitive=lambda z: ops.arctan(0.5 * np.pi * z) / np.pi)
    assert surrogates.derivative("plain") is None


@pytest.mark.parametrize("shared_by", ["layer", "channel", "neuron"])
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_gradients_in_learnt_constants_are_the_programs(variant, shared_by, plain):
    if keras.backend.backend() != "torch":
        pytest.skip("derivatives are written out for torch alone")
    x = np.random.default_rng(0).normal(0.6, 0.5, (12, 3, 4)).astype("float32")
    wanted = np.random.default_rng(1).random((12, 3, 4)).astype("float32")
    steps = []
    for name in ("arctan", "plain"):
        layers = [
            PLIF(4, shared_by=shared_by, learn_threshold=True, surrogate=name, width=0.5, **variant)
            for _ in range(2)
        ]
        model = keras.Sequential([keras.Input((3, 4)), Folded(4), *layers])
        draw = np.random.default_rng(2)
        model.set_weights([draw.normal(0, 0.3, w.shape) for w in model.get_weights()])
        model.compile(keras.optimizers.SGD(1.0), lambda y, s: 100 * ops.mean(ops.square(s - y)))
        before = model.get_weights()
        model.train_on_batch(x, wanted)
        steps.append([new - old for old, new in zip(before, model.get_weights())])
    assert max(np.abs(step).max() for step in steps[1]) > 0.1
    for one, other in zip(*steps, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_second_derivatives_are_the_programs(plain):
    x = np.random.default_rng(0).normal(0.6, 0.5, (6, 3)).astype("float32")
    products = []
    for name in ("arctan", "plain"):
        layers = [keras.layers.Dense(4), LIF(3, tau=2.0, surrogate=name, width=0.5)]
        layers += [LIF(3, surrogate=name, width=0.5)]
        model = keras.Sequential([keras.Input((3,)), Folded(3), *layers])
        kernel = np.random.default_rng(1).normal(0.5, 0.5, (3, 4))
        model.set_weights([kernel, np.zeros(4)])
        wanted = np.full((6, 4), 0.3, "float32")
        product = Hessian(model, lambda y, s: ops.mean(ops.square(s - y))).at(x, wanted)
        vector = np.random.default_rng(2).standard_normal(16).astype("float32")
        products.append(ops.convert_to_numpy(product(ops.convert_to_tensor(vector))))
    assert np.abs(products[0]).max() > 0.1
    np.testing.assert_allclose(*products, rtol=1e-4, atol=1e-6)
