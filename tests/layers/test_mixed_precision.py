"""Neurons under half precision keep membranes and derivatives in single precision."""

import functools

import keras
import numpy as np
import pytest
from keras import ops

from keras_dep import IF
from keras_dep import LIF
from keras_dep import PLIF
from keras_dep import Integrator
from keras_dep import _backend
from keras_dep.layers import Folded
from tests.support import native

T, BATCH, UNITS = 6, 3, 4
POLICIES = {"mixed_float16": 2.0**-11, "mixed_bfloat16": 2.0**-8}
KINDS = {
    "LIF": lambda **options: LIF(T, tau=2.0, surrogate="sigmoid", **options),
    "LIF, hard": lambda **options: LIF(T, tau=1.1, reset="hard", **options),
    "IF": lambda **options: IF(T, surrogate="arctan", **options),
    "PLIF": lambda **options: PLIF(T, tau=1.7, threshold=0.9, learn_threshold=True, **options),
    "Integrator": lambda **options: Integrator(T, tau=2.0, **options),
}


def representable(values):
    """Rounded to values that both types represent exactly."""
    return (np.round(np.asarray(values) * 32) / 32).astype("float32")


@functools.cache
def outputs_and_gradient(name, policy):
    """Outputs, gradient and the outputs' dtype of a layer under a policy, in single precision."""
    draw = np.random.default_rng(0)
    x = representable(draw.normal(0.6, 0.5, (T * BATCH, UNITS)))
    scale = ops.convert_to_tensor(representable(draw.normal(0, 1, (T * BATCH, UNITS))))
    model = keras.Sequential([keras.Input((UNITS,)), Folded(T), KINDS[name](dtype=policy)])

    def objective(_, outputs):
        return ops.cast(outputs, "float32") * scale

    both = _backend.gradient_and_outputs(model, objective, native.asked(model))
    gradient, outputs, _ = both(ops.convert_to_tensor(x), ops.zeros(1))
    kind = keras.backend.standardize_dtype(outputs.dtype)
    found = [ops.convert_to_numpy(ops.cast(each, "float32")) for each in (outputs, gradient)]
    return *found, kind


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", KINDS)
def test_outputs_and_gradient_are_those_of_single_precision(name, policy):
    expected, wanted, _ = outputs_and_gradient(name, "float32")
    outputs, gradient, kind = outputs_and_gradient(name, policy)
    assert kind == policy.removeprefix("mixed_")
    assert np.abs(wanted).max() > 0.1 and 0 < np.mean(expected >= 1) < 1
    rounding = POLICIES[policy]
    if name == "Integrator":
        np.testing.assert_allclose(outputs, expected, rtol=rounding, atol=0)
    else:
        np.testing.assert_array_equal(outputs, expected)
    # Rounded once, at the output.
    np.testing.assert_allclose(gradient, wanted, rtol=1.01 * rounding, atol=1e-6)


@pytest.mark.parametrize("policy", POLICIES)
def test_learnt_constants_move_as_in_single_precision(policy):
    moved = []
    for chosen in ("float32", policy):
        layer = KINDS["PLIF"](dtype=chosen)
        model = keras.Sequential([keras.Input((UNITS,)), Folded(T), layer])
        model.compile(keras.optimizers.SGD(1.0), lambda y, s: 100 * ops.square(ops.mean(s) - y))
        before = model.get_weights()
        draw = np.random.default_rng(0)
        x = representable(draw.normal(0.6, 0.5, (T * BATCH, UNITS)))
        model.train_on_batch(x, np.zeros((T * BATCH, 1), "float32"))
        moved.append(np.ravel(model.get_weights()) - np.ravel(before))
    assert np.abs(moved[0]).min() > 0.1
    np.testing.assert_allclose(*moved, rtol=4 * POLICIES[policy])


@pytest.mark.parametrize("policy", POLICIES)
def test_a_membrane_does_not_stop_where_its_type_would(policy):
    """A hundred inputs of 0.001 add up; half precision near 1 would lose them."""
    layer = LIF(100, tau=np.inf, dtype=policy)
    x = np.full((100, 1), 0.0005, "float32")
    x[0] = 0.96
    found = ops.convert_to_numpy(ops.cast(ops.stop_gradient(layer(x)), "float32")).ravel()
    typed = ops.convert_to_numpy(ops.cast(ops.cast(x, layer.compute_dtype), "float32"))
    expected = np.cumsum(typed.astype("float64")) >= 1
    assert 50 < np.argmax(expected) < 99
    assert np.argmax(found) == np.argmax(expected) and found.sum() == 1


@pytest.mark.parametrize("policy", POLICIES)
def test_counts_are_not_rounded_to_the_type_of_the_outputs(policy):
    """2051 and 2052, on different sides of the threshold, are one number in half precision."""
    layer = LIF(1, threshold=2051.5, dtype=policy)
    spikes = layer(ops.convert_to_tensor([[2051], [2052]], dtype="int32"))
    assert keras.backend.standardize_dtype(spikes.dtype) == layer.compute_dtype
    found = ops.convert_to_numpy(ops.cast(ops.stop_gradient(spikes), "float32"))
    assert found.ravel().tolist() == [0, 1]


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="torch alone tells what it keeps")
@pytest.mark.parametrize("kind", [LIF, PLIF])
@pytest.mark.parametrize("recompute", [False, True])
def test_currents_wait_for_the_gradient_in_half_precision(kind, recompute):
    import torch

    sizes = dict.fromkeys((torch.bfloat16, torch.float32), 0)

    def note(tensor):
        sizes[tensor.dtype] += tensor.numel()
        return tensor

    layer = kind(T, recompute=recompute, dtype="mixed_bfloat16")
    x = torch.rand(T * BATCH, UNITS, dtype=torch.bfloat16, requires_grad=True)
    layer.build(x.shape)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        layer(x)
    assert sizes[torch.bfloat16] == x.numel()
    # Potentials except the first; for learnt constants also the membranes except the last.
    steps = 0 if recompute else T - 1 if kind is LIF else 2 * (T - 1)
    learnt = sizes[torch.float32] - steps * BATCH * UNITS
    assert learnt == 0 if kind is LIF else 0 < learnt <= 2
