"""LIF against hand-computed spikes, a NumPy loop, and the derivatives of its surrogate."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_dep import IF
from keras_dep import LIF
from keras_dep import PLIF
from keras_dep.curvature import double_precision
from keras_dep.layers import Folded
from tests.support import native

T, BATCH, UNITS = 5, 3, 4
VARIANTS = [
    dict(reset=reset, detach_reset=dr, detach_membrane=dm)
    for reset in ("soft", "hard")
    for dr in (False, True)
    for dm in (False, True)
]


def triangle(z):
    return np.maximum(0, 1 - np.abs(z))


def loop(currents, tau, threshold, reset, detach_reset, detach_membrane):
    """Spikes `(T, ...)` and d(sum of weights * spikes)/d(currents) by forward differentiation."""
    decay = 1 - 1 / tau
    steps = len(currents)
    v, spikes = np.zeros(currents.shape[1:]), []
    # dv[k]: derivative of the membrane with respect to current k, element by element.
    dv = np.zeros(currents.shape)
    jacobian = np.zeros((steps, *currents.shape))
    for t in range(steps):
        u = decay * v + currents[t]
        du = np.zeros_like(dv) if detach_membrane else decay * dv
        du[t] += 1
        s = (u >= threshold).astype(float)
        ds = triangle(u - threshold) * du
        spikes.append(s)
        jacobian[t] = ds
        reset_ds = 0 if detach_reset else ds
        if reset == "soft":
            v, dv = u - threshold * s, du - threshold * reset_ds
        else:
            v, dv = (1 - s) * u, (1 - s) * du - u * reset_ds
    return np.stack(spikes), jacobian


def currents(seed=0):
    return np.random.default_rng(seed).normal(0.6, 0.5, (T, BATCH, UNITS))


def model(**options):
    return keras.Sequential([keras.Input((UNITS,)), Folded(T), LIF(T, **options)])


def test_constant_current_vector():
    spikes = LIF(timesteps=4, tau=1.1)(ops.full((4, 1), 0.95))
    assert ops.convert_to_numpy(spikes).ravel().tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize("tau, threshold", [(1.1, 1.0), (2.0, 0.7), (float("inf"), 1.3)])
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_forward_and_gradient_equal_the_loop(variant, tau, threshold):
    x = currents()
    expected, jacobian = loop(x, tau, threshold, **variant)
    weights = np.random.default_rng(1).standard_normal(x.shape)
    net = model(tau=tau, threshold=threshold, **variant)
    flat = ops.convert_to_tensor(x.reshape(-1, UNITS).astype("float32"))
    spikes = ops.convert_to_numpy(net(flat, training=False)).reshape(x.shape)
    np.testing.assert_array_equal(spikes, expected)
    scale = ops.convert_to_tensor(weights.reshape(-1, UNITS).astype("float32"))
    gradient = native.input_gradient(net, lambda y, s: s * scale)(flat, ops.zeros(1))
    expected_gradient = np.einsum("tbu,tkbu->kbu", weights, jacobian)
    found = ops.convert_to_numpy(gradient).reshape(x.shape)
    np.testing.assert_allclose(found, expected_gradient, atol=2e-5)


@pytest.mark.parametrize("decay, tau", [(0.0, 1.0), (0.5, 2.0), (0.99, 100.0), (1.0, np.inf)])
def test_decay_and_time_constant_name_one_number(decay, tau):
    layer = LIF(T, decay=decay)
    assert layer.tau == pytest.approx(tau, rel=1e-12)
    x = currents().reshape(-1, UNITS).astype("float32")
    np.testing.assert_array_equal(
        ops.convert_to_numpy(layer(x)), ops.convert_to_numpy(LIF(T, tau=tau)(x))
    )
    if 0 < decay < 1:
        assert PLIF(T, decay=decay).tau == layer.tau


def test_integrate_and_fire_is_without_leak():
    layer = IF(T, threshold=0.7, reset="hard")
    x = currents()
    expected, _ = loop(x, np.inf, 0.7, "hard", False, False)
    found = ops.convert_to_numpy(layer(x.reshape(-1, UNITS).astype("float32")))
    np.testing.assert_array_equal(found.reshape(x.shape), expected)
    copy = IF.from_config(layer.get_config())
    assert copy.get_config() == layer.get_config() and copy.tau == np.inf


@pytest.mark.parametrize("reset", ["soft", "hard"])
def test_distances_are_those_at_which_neurons_fire(reset):
    layer = LIF(T, tau=2.0, threshold=0.8, reset=reset)
    x = currents().reshape(-1, UNITS).astype("float32")
    distances = ops.convert_to_numpy(layer.distances(x))
    np.testing.assert_array_equal(distances >= 0, ops.convert_to_numpy(layer(x)) == 1)
    first, second = distances.reshape(T, BATCH, UNITS)[:2] + 0.8
    np.testing.assert_allclose(first, currents()[0], atol=1e-6)
    kept = first - 0.8 * (first >= 0.8) if reset == "soft" else first * (first < 0.8)
    np.testing.assert_allclose(second, 0.5 * kept + currents()[1], atol=1e-6)


def test_detached_membrane_leaves_no_gradient_through_time():
    net = model(detach_membrane=True)
    only_last = np.zeros((T * BATCH, UNITS), "float32")
    only_last[-BATCH:] = 1
    gradient = native.input_gradient(net, lambda y, s: s * ops.convert_to_tensor(only_last))
    x = ops.convert_to_tensor(currents().reshape(-1, UNITS).astype("float32"))
    found = ops.convert_to_numpy(gradient(x, ops.zeros(1))).reshape(T, BATCH, UNITS)
    assert not found[:-1].any() and found[-1].any()


def test_no_state_survives_a_call_and_samples_do_not_mix():
    layer = LIF(T)
    x = currents().astype("float32")
    once = ops.convert_to_numpy(layer(x.reshape(-1, UNITS))).reshape(x.shape)
    again = ops.convert_to_numpy(layer(x.reshape(-1, UNITS))).reshape(x.shape)
    np.testing.assert_array_equal(once, again)
    for sample in range(BATCH):
        alone = ops.convert_to_numpy(layer(x[:, sample])).reshape(T, UNITS)
        np.testing.assert_array_equal(alone, once[:, sample])


@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16", "float64"])
def test_dtype_policies(policy):
    if policy == "float64" and keras.backend.backend() == "jax":
        pytest.skip("JAX has no float64 unless it is switched on for the whole process")
    layer = LIF(T, dtype=policy)
    spikes = layer(currents().reshape(-1, UNITS).astype("float32"))
    assert keras.backend.standardize_dtype(spikes.dtype) == layer.compute_dtype
    found = ops.convert_to_numpy(ops.cast(spikes, "float32"))
    assert set(np.unique(found)) == {0.0, 1.0}
    # Rounding may change a spike.
    expected, _ = loop(currents(), layer.tau, 1.0, "soft", False, False)
    assert (found.reshape(expected.shape) == expected).mean() > 0.9


@pytest.mark.parametrize("reset", ["soft", "hard"])
def test_gradient_in_double_precision(reset):
    x, variant = currents(), dict(reset=reset, detach_reset=False, detach_membrane=False)
    expected, jacobian = loop(x, 2.0, 1.0, **variant)
    weights = np.random.default_rng(1).standard_normal(x.shape)
    with double_precision():
        neurons = LIF(T, tau=2.0, reset=reset, dtype="float64")
        network = keras.Sequential(
            [keras.Input((UNITS,), dtype="float64"), Folded(T, dtype="float64"), neurons]
        )
        scale = ops.convert_to_tensor(weights.reshape(-1, UNITS), "float64")
        gradient = native.input_gradient(network, lambda y, s: s * scale)
        found = gradient(ops.convert_to_tensor(x.reshape(-1, UNITS), "float64"), ops.zeros(1))
    wanted = np.einsum("tbu,tkbu->kbu", weights, jacobian)
    np.testing.assert_allclose(
        ops.convert_to_numpy(found).reshape(x.shape), wanted, rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("kind", [IF, LIF, PLIF])
def test_an_empty_batch_and_one_step(kind):
    assert kind(T)(np.ones((0, UNITS), "float32")).shape == (0, UNITS)
    x = currents()[0].astype("float32")
    np.testing.assert_array_equal(
        ops.convert_to_numpy(ops.stop_gradient(kind(1)(x))), (x >= 1).astype("float32")
    )


def test_training_mode_changes_nothing():
    net = model()
    x = currents().reshape(-1, UNITS).astype("float32")
    np.testing.assert_array_equal(
        ops.convert_to_numpy(net(x, training=True)), ops.convert_to_numpy(net(x, training=False))
    )


@pytest.mark.parametrize("shape", [(T * 2, 3), (T, 4, 4, 2), (0, 3)], ids=str)
def test_symbolic_shape_equals_eager(shape):
    layer = LIF(T)
    eager = layer(np.ones(shape, "float32"))
    symbolic = layer(keras.KerasTensor((None, *shape[1:])))
    assert tuple(eager.shape) == shape
    assert symbolic.shape == (None, *shape[1:])


def test_config_round_trip():
    layer = LIF(3, tau=2.0, threshold=0.5, reset="hard", detach_reset=True, surrogate="arctan")
    copy = LIF.from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()
    assert copy.width == 0.5


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(timesteps=0), "timesteps must be an integer of at least 1; received 0"),
        (dict(timesteps=2.0), "timesteps must be an integer"),
        (dict(timesteps=4, tau=0.5), "tau must be at least 1.*received 0.5"),
        (dict(timesteps=4, tau=float("nan")), "tau must be at least 1.*received nan"),
        (dict(timesteps=4, decay=1.1), r"decay must lie in \[0, 1\]; received 1.1"),
        (dict(timesteps=4, decay=0.5, tau=2.0), "tau or decay must be given, not both"),
        (dict(timesteps=4, threshold=0), "threshold must be positive and finite; received 0"),
        (dict(timesteps=4, reset="zero"), "reset must be one of soft, hard; received 'zero'"),
        (dict(timesteps=4, surrogate="box"), "surrogate must be one of"),
    ],
    ids=str,
)
def test_bad_input(options, message):
    with pytest.raises(ValueError, match=message):
        LIF(**options)
