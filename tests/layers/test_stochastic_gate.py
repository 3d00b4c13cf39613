"""StochasticGate against its equations."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_dep.curvature.operators import Hessian
from keras_dep.layers import StochasticGate
from tests.support import hyper_dual
from tests.support import neurons
from tests.support.hyper_dual import Dual
from tests.support.neurons import UNITS
from tests.support.neurons import T

OPENING = np.array([0.4, 0.7])


def draws(gate):
    """The gate's next draws."""
    generator = keras.random.SeedGenerator(0)
    generator.state.assign(gate._generator.state)
    found = keras.random.uniform((T, UNITS), 1e-6, 1 - 1e-6, dtype="float32", seed=generator)
    return ops.convert_to_numpy(found).astype("float64")


def inverse(x):
    return x.through(1 / x.value, -1 / x.value**2, 2 / x.value**3)


def transcribed(gate):
    def outputs(currents, opening):
        rows, u = [], draws(gate)
        log_l = np.log(u / (1 - u + 1e-3))
        for t, row in enumerate(currents):
            rows.append([])
            for i, x in enumerate(row):
                p = opening[i] if 0.1 < opening[i].value.flat[0] < 1 else Dual(opening[i].value)
                p = Dual(np.clip(p.value, 0.1, 1), *p.parts[1:])
                odds = hyper_dual.logarithm(p * inverse(p * -1.0 + 1.001))
                relaxed = hyper_dual.sigmoid((odds + log_l[t, i]) * 2.0)
                is_open = (-log_l[t, i] <= odds.value).astype(float)
                rows[-1].append(x * Dual(is_open, *relaxed.parts[1:]))
        return rows

    return outputs


@pytest.mark.parametrize("opening", [OPENING, np.array([0.05, 0.6])], ids=["inside", "clipped"])
def test_equations(opening):
    gate = StochasticGate(T, seed=7)
    neurons.compare([gate], transcribed(gate), [opening])


def test_every_product_with_the_hessian_sees_the_same_gates():
    gate = StochasticGate(T, seed=2)
    model = neurons.behind_currents(gate, keras.layers.Dense(3))
    gate.opening.assign(OPENING)
    before = ops.convert_to_numpy(gate._generator.state)
    hessian = Hessian(model, "mse")
    product = hessian.at(np.eye(T, dtype="float32"), np.ones((T, 3), "float32"))
    v, w = np.random.default_rng(0).normal(size=(2, hessian.dimension)).astype("float32")
    found = [ops.convert_to_numpy(product(each)) for each in (v, w, v)]
    np.testing.assert_array_equal(found[0], found[2])
    assert w @ found[0] == pytest.approx(v @ found[1], rel=1e-3, abs=1e-4)
    np.testing.assert_array_equal(ops.convert_to_numpy(gate._generator.state), before)


def rate(gate, opening, rows=4000):
    gate.build((None, 1))
    gate.opening.assign([opening])
    return float(ops.convert_to_numpy(ops.mean(gate(ops.ones((rows, 1))))))


@pytest.mark.parametrize("opening, probability", [(1.0, 0.999), (0.5, 0.5), (-3.0, 0.1)])
def test_gates_open_with_their_probability(opening, probability):
    deviation = np.sqrt(probability * (1 - probability) / 4000)
    assert abs(rate(StochasticGate(1, seed=0), opening) - probability) < 4 * deviation + 1e-3
    gate = StochasticGate(1, seed=0, bypass=True)
    assert rate(gate, opening) == 1 and not gate.draws


def test_the_released_gradient_has_the_other_sign_and_a_mean():
    steps = []
    for gradient in ("relaxed", "released"):
        gate = StochasticGate(T, gamma=0.0, gradient=gradient, seed=3)
        model = neurons.behind_currents(gate)
        model.set_weights([np.ones((T, UNITS)), OPENING, *model.get_weights()[2:]])
        gate._generator.state.assign([3, 0])
        # Under a loss linear in the outputs, TensorFlow's graph optimiser may move the update of a
        # kernel ahead of its use: the gradient of that kernel does not depend on its value.
        model.compile(keras.optimizers.SGD(1.0), lambda y, s: ops.sum(ops.square(y - s)))
        model.train_on_batch(np.eye(T), np.arange(T * UNITS).reshape(T, UNITS))
        steps.append(ops.convert_to_numpy(gate.opening) - OPENING)
    assert np.abs(steps[0]).min() > 1e-3
    np.testing.assert_allclose(steps[1], -steps[0] / T, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("norm, slope", [("l2", OPENING), ("l1", [1.0, 1.0])])
def test_the_prior_moves_openings_in_training(norm, slope):
    gate = StochasticGate(T, gamma=0.25, norm=norm)
    gate.build((None, UNITS))
    gate.opening.assign(OPENING)
    gate(ops.zeros((T, UNITS)), training=True)
    value = np.sum(OPENING**2) / 2 if norm == "l2" else OPENING.sum()
    assert float(ops.convert_to_numpy(gate.losses[0])) == pytest.approx(0.25 * value)
    model = neurons.behind_currents(gate)
    # The gate's currents are 0: the prior alone has a gradient.
    model.layers[1].kernel.assign(np.zeros((T, UNITS)))
    model.compile(keras.optimizers.SGD(1.0), lambda y, s: ops.sum(s * 0.0))
    model.train_on_batch(np.eye(T), np.zeros((T, UNITS)))
    found = ops.convert_to_numpy(gate.opening)
    np.testing.assert_allclose(found, OPENING - 0.25 * np.array(slope), rtol=1e-5)


def test_frozen_openings_stay_through_updates_and_files(tmp_path):
    gate = StochasticGate(T, gamma=1.0, seed=0)
    model = neurons.behind_currents(gate)
    gate.opening.assign(OPENING)
    gate.freeze()
    gate.opening.assign([0.9, 0.9])
    gate.freeze()
    again = neurons.loaded(model, tmp_path / "model.keras").layers[-1]
    found = again.learnt_constants()["opening"]
    np.testing.assert_allclose(found, OPENING, rtol=1e-6)
    model.compile(keras.optimizers.SGD(1.0), "mse")
    model.train_on_batch(np.eye(T), np.ones((T, UNITS)))
    assert ops.convert_to_numpy(gate.opening) == pytest.approx(0.9)


def test_half_precision_and_spikes():
    gate = StochasticGate(T, dtype="mixed_bfloat16")
    outputs = gate(ops.ones((T, 2, 2, 3)))
    assert keras.backend.standardize_dtype(outputs.dtype) == "bfloat16"
    assert gate.opening.dtype == "float32" and gate.opening.shape == (12,)
    assert gate.emits_spikes and gate.compute_output_shape((None, 3)) == (None, 3)


def test_limits():
    for options, message in (
        ({"gamma": -1.0}, "gamma must be finite and not negative; received -1"),
        ({"norm": "l3"}, "norm must be one of l2, l1; received 'l3'"),
        ({"gradient": "x"}, "gradient must be one of relaxed, released; received 'x'"),
    ):
        with pytest.raises(ValueError, match=message):
            StochasticGate(T, **options)
    with pytest.raises(ValueError, match="StochasticGate must have inputs of known sizes"):
        StochasticGate(T).build((None, None, 3))
