"""A thousand steps in a loop, against the recurrence in double precision."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_dep import LIF
from keras_dep import PLIF
from keras_dep import Integrator
from keras_dep import _backend
from keras_dep.curvature.operators import Hessian
from keras_dep.layers import Folded
from tests.support import native

T, UNITS = 1000, 3
WIDTH = 0.5
KINDS = {
    "LIF": lambda t: LIF(t, tau=2.0, surrogate="arctan", width=WIDTH),
    "LIF, hard": lambda t: LIF(t, tau=2.0, surrogate="arctan", width=WIDTH, reset="hard"),
    "IF": lambda t: LIF(t, tau=np.inf, surrogate="arctan", width=WIDTH),
    "PLIF": lambda t: PLIF(t, tau=2.0, surrogate="arctan", width=WIDTH, learn_threshold=True),
    "recomputed": lambda t: LIF(t, tau=2.0, surrogate="arctan", width=WIDTH, recompute=True),
}


def currents(steps=T):
    return np.random.default_rng(0).normal(0.3, 0.5, (steps, UNITS)).astype("float32")


def recurrence(x, weights, decay, soft):
    """Spikes, and the gradient of `sum(weights * spikes)` by the surrogate, both of `(T, units)`.

    The smallest distance to the threshold says whether single precision can tell the spikes.
    """
    v, potentials, spikes = np.zeros(x.shape[1]), [], []
    for current in x.astype("float64"):
        u = decay * v + current
        s = (u >= 1.0).astype("float64")
        v = u - s if soft else (1.0 - s) * u
        potentials.append(u)
        spikes.append(s)
    later, gradient = np.zeros(x.shape[1]), np.zeros(x.shape)
    for t in reversed(range(len(x))):
        u, s = potentials[t], spikes[t]
        slope = 0.5 / (1 + (np.pi / 2 * (u - 1) / WIDTH) ** 2) / WIDTH
        kept = 1.0 - slope if soft else 1.0 - s - u * slope
        gradient[t] = weights[t] * slope + later * kept
        later = decay * gradient[t]
    return np.stack(spikes), gradient, np.abs(np.stack(potentials) - 1).min()


@pytest.mark.parametrize("name", KINDS)
def test_spikes_and_gradient(name):
    x, weights = currents(), np.random.default_rng(1).standard_normal((T, UNITS))
    decay = 1.0 if name == "IF" else 0.5
    expected, wanted, nearest = recurrence(x, weights, decay, soft=name != "LIF, hard")
    assert nearest > 1e-5
    model = keras.Sequential([keras.Input((UNITS,)), Folded(T), KINDS[name](T)])
    scale = ops.convert_to_tensor(weights.astype("float32"))
    both = _backend.gradient_and_outputs(model, lambda y, s: s * scale, native.asked(model))
    gradient, spikes, _ = both(ops.convert_to_tensor(x), ops.zeros(1))
    np.testing.assert_array_equal(ops.convert_to_numpy(spikes), expected)
    assert 0.1 < expected.mean() < 0.9
    np.testing.assert_allclose(ops.convert_to_numpy(gradient), wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("tau", [20.0, np.inf])
def test_readout(tau):
    x = currents()
    model = keras.Sequential([keras.Input((UNITS,)), Folded(T), Integrator(T, tau)])
    decay, membrane, wanted = 1 - 1 / tau, 0.0, []
    for current in x.astype("float64"):
        membrane = decay * membrane + current
        wanted.append(membrane)
    found = model.predict_on_batch(x)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-3)
    gradient = native.input_gradient(model, lambda y, v: v[-1])(
        ops.convert_to_tensor(x), ops.zeros(1)
    )
    powers = decay ** np.arange(T - 1, -1, -1.0)
    np.testing.assert_allclose(
        ops.convert_to_numpy(gradient), np.repeat(powers[:, None], UNITS, 1), rtol=1e-3, atol=1e-6
    )


@pytest.mark.parametrize("name", ["LIF, hard", "PLIF"])
def test_second_derivatives_of_the_loop_are_those_of_its_steps(name, monkeypatch):
    # Longer than the longest sequence that a backend unrolls.
    steps, products = 10, []
    for chained in (False, True):
        if chained:
            monkeypatch.setattr(_backend, "over_steps", _backend.generic.over_steps)
        dense = keras.layers.Dense(UNITS, use_bias=False)
        model = keras.Sequential([keras.Input((steps,)), Folded(steps), dense, KINDS[name](steps)])
        model.set_weights([currents(steps), *model.get_weights()[1:]])
        count = model.count_params()
        vector = np.random.default_rng(2).standard_normal(count).astype("float32")
        product = Hessian(model, lambda y, s: ops.mean(ops.square(s - y))).at(
            np.eye(steps, dtype="float32"), np.full((steps, UNITS), 0.3, "float32")
        )
        products.append(ops.convert_to_numpy(product(ops.convert_to_tensor(vector))))
    assert np.abs(products[0]).max() > 0.05
    np.testing.assert_allclose(*products, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("jit", native.JIT)
def test_a_step_of_training(jit):
    """Weights after a training step, compiled and not, against the recurrence."""
    steps = 12
    x, weights = currents(steps), np.random.default_rng(1).standard_normal((steps, UNITS))
    scale = ops.convert_to_tensor(weights.astype("float32"))
    dense = keras.layers.Dense(UNITS, use_bias=False)
    model = keras.Sequential([keras.Input((steps,)), Folded(steps), dense, KINDS["LIF"](steps)])
    model.set_weights([x])
    model.compile(
        keras.optimizers.SGD(1.0), lambda y, s: ops.sum(s * scale, axis=-1), jit_compile=jit
    )
    # The inputs are the identity, so rows of the currents are rows of the kernel.
    model.train_on_batch(np.eye(steps, dtype="float32"), np.zeros((steps, 1), "float32"))
    wanted = x - recurrence(x, weights, 0.5, soft=True)[1] / steps
    np.testing.assert_allclose(model.get_weights()[0], wanted, atol=1e-5)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="a choice of JAX' alone")
@pytest.mark.parametrize("device, longest", [("cpu", 4), ("gpu", 16)])
def test_a_loop_begins_where_the_device_runs_it_faster(device, longest, monkeypatch):
    import jax

    monkeypatch.setattr(jax, "default_backend", lambda: device)
    for steps in (longest, longest + 1):
        program = str(jax.make_jaxpr(LIF(steps))(currents(steps)))
        assert ("scan[" in program) == (steps > longest)
