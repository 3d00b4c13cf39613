"""Stepwise normalisation against a loop over steps, tdBN against its formula."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_dep.layers import MergedBatchNormalization
from keras_dep.layers import StepwiseBatchNormalization
from keras_dep.layers import ThresholdDependentBatchNormalization

T, BATCH = 3, 5


@pytest.mark.parametrize("axis", [-1, 1])
def test_equals_a_loop_over_steps(axis):
    x = np.random.default_rng(0).normal(1.0, 2.0, (T, BATCH, 4, 6, 4)).astype("float32")
    folded = StepwiseBatchNormalization(T, axis=axis, momentum=0.9, epsilon=1e-5)
    looped = keras.layers.BatchNormalization(axis=axis, momentum=0.9, epsilon=1e-5)
    found = folded(x.reshape(-1, 4, 6, 4), training=True)
    expected = np.stack(
        [ops.convert_to_numpy(ops.stop_gradient(looped(s, training=True))) for s in x]
    )
    found = ops.convert_to_numpy(ops.stop_gradient(found)).reshape(x.shape)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    for one, other in zip(folded.get_weights(), looped.get_weights()):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_inference_is_ordinary_and_config_round_trips():
    layer = StepwiseBatchNormalization(T, momentum=0.8)
    x = np.ones((T * 2, 3), "float32")
    plain = keras.layers.BatchNormalization(momentum=0.8)
    np.testing.assert_allclose(
        ops.convert_to_numpy(ops.stop_gradient(layer(x, training=False))),
        ops.convert_to_numpy(ops.stop_gradient(plain(x, training=False))),
    )
    assert StepwiseBatchNormalization.from_config(layer.get_config()).timesteps == T


@pytest.mark.parametrize("options", [dict(), dict(scale=False), dict(center=False)], ids=str)
def test_merged_is_keras_own(options):
    x = np.random.default_rng(0).normal(1.0, 2.0, (T * BATCH, 4, 6, 3)).astype("float32")
    options = {"momentum": 0.9, "epsilon": 1e-5, **options}
    ours, theirs = MergedBatchNormalization(**options), keras.layers.BatchNormalization(**options)
    for training in (True, False):
        found, expected = (
            ops.convert_to_numpy(ops.stop_gradient(layer(x, training=training)))
            for layer in (ours, theirs)
        )
        np.testing.assert_allclose(found, expected, atol=2e-5)
    for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [dict(), dict(scale=False), dict(center=False), dict(scale=False, center=False)],
    ids=str,
)
@pytest.mark.parametrize("axis", [-1, 1])
@pytest.mark.parametrize("policy, places", [("mixed_bfloat16", 8), ("mixed_float16", 11)])
def test_half_precision_keeps_statistics_in_full(policy, places, axis, options):
    draw = np.random.default_rng(0)
    shape = (T * BATCH, 4, 6, 4)
    x = ops.cast(draw.normal(100.0, 2.0, shape).astype("float32"), policy.removeprefix("mixed_"))
    exact = ops.convert_to_numpy(ops.cast(x, "float32"))
    options = {"axis": axis, "momentum": 0.9, "epsilon": 1e-5, **options}
    ours = StepwiseBatchNormalization(T, dtype=policy, **options)
    full = StepwiseBatchNormalization(T, dtype="float32", **options)
    for training in (True, False):
        found, expected = ours(x, training=training), full(exact, training=training)
        assert keras.backend.standardize_dtype(found.dtype) == policy.removeprefix("mixed_")
        found, expected = (
            ops.convert_to_numpy(ops.cast(ops.stop_gradient(y), "float32"))
            for y in (found, expected)
        )
        # Half a unit in the last place.
        np.testing.assert_allclose(found, expected, rtol=2.0**-places, atol=1e-4)
    for one, other in zip(ours.get_weights(), full.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="torch tells what it keeps")
def test_half_precision_keeps_no_copy_in_full():
    import torch

    kept = []
    layer = MergedBatchNormalization(dtype="mixed_bfloat16")
    x = ops.ones((8, 4, 6, 4), dtype="bfloat16").requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        layer(x, training=True)
    maps = [tensor for tensor in kept if tensor.numel() == x.numel()]
    assert maps and all(tensor.dtype == torch.bfloat16 for tensor in maps)


@pytest.mark.parametrize("timesteps", [1, T])
def test_statistics_of_one_entry_and_of_none(timesteps):
    layer = StepwiseBatchNormalization(timesteps)
    outputs = layer(np.full((timesteps, 2), 3.0, "float32"), training=True)
    np.testing.assert_allclose(ops.convert_to_numpy(ops.stop_gradient(outputs)), 0, atol=1e-5)
    assert all(np.isfinite(weight).all() for weight in layer.get_weights())
    assert layer(np.ones((0, 2), "float32"), training=False).shape == (0, 2)


def test_bad_input():
    with pytest.raises(ValueError, match="timesteps must be an integer of at least 1; received 0"):
        StepwiseBatchNormalization(0)


def test_threshold_dependent_equals_its_formula():
    x = np.random.default_rng(0).normal(1.0, 2.0, (T * BATCH, 4, 6, 3)).astype("float32")
    layer = ThresholdDependentBatchNormalization(0.5, alpha=0.7, momentum=0.9, epsilon=1e-5)
    found = ops.convert_to_numpy(ops.stop_gradient(layer(x, training=True)))
    mean, variance = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))
    expected = 0.7 * 0.5 * (x - mean) / np.sqrt(variance + 1e-5)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    _, _, moving_mean, moving_variance = layer.get_weights()
    np.testing.assert_allclose(moving_mean, 0.1 * mean, atol=1e-5)
    np.testing.assert_allclose(moving_variance, 0.9 + 0.1 * variance, atol=1e-5)
    copy = ThresholdDependentBatchNormalization.from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()
    assert (copy.threshold, copy.alpha) == (0.5, 0.7)


def test_bad_threshold():
    with pytest.raises(ValueError, match="threshold must be positive; received 0"):
        ThresholdDependentBatchNormalization(0)
