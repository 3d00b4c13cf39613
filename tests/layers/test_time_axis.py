"""The two layouts of time against NumPy, and dropout with one mask for all steps."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_dep import FoldTime
from keras_dep import UnfoldTime
from keras_dep.layers import TimeSharedDropout
from keras_dep.layers import time_axis
from keras_dep.losses import mean_logits

T, BATCH = 3, 4


def numbers(*shape):
    return np.arange(np.prod(shape), dtype="float32").reshape(shape)


@pytest.mark.parametrize("tail", [(), (5,), (2, 3, 4)], ids=str)
def test_fold_and_unfold_are_time_major_and_inverse(tail):
    flat = numbers(T * BATCH, *tail)
    steps = ops.convert_to_numpy(time_axis.unfold(ops.convert_to_tensor(flat), T))
    for step in range(T):
        np.testing.assert_array_equal(steps[step], flat[step * BATCH : (step + 1) * BATCH])
    again = time_axis.fold(ops.convert_to_tensor(steps))
    np.testing.assert_array_equal(ops.convert_to_numpy(again), flat)


@pytest.mark.parametrize("tail", [(5,), (2, 3, 4)], ids=str)
def test_border_layers(tail):
    sequence = numbers(BATCH, T, *tail)
    folded = ops.convert_to_numpy(FoldTime(T)(sequence))
    np.testing.assert_array_equal(folded, np.concatenate([sequence[:, t] for t in range(T)]))
    np.testing.assert_array_equal(ops.convert_to_numpy(UnfoldTime(T)(folded)), sequence)


def test_one_step_only_adds_or_removes_an_axis():
    x = numbers(BATCH, 5)
    np.testing.assert_array_equal(ops.convert_to_numpy(UnfoldTime(1)(x)), x[:, None])
    np.testing.assert_array_equal(ops.convert_to_numpy(FoldTime(1)(x[:, None])), x)


@pytest.mark.parametrize(
    "layer, shape",
    [(UnfoldTime(T), (12, 5)), (FoldTime(T), (4, T, 5)), (TimeSharedDropout(0.5, T), (12, 5))],
    ids=["steps", "frames", "dropout"],
)
def test_symbolic_shape_equals_eager(layer, shape):
    eager = tuple(layer(numbers(*shape)).shape)
    assert layer.compute_output_shape(shape) == eager
    open_batch = layer(keras.KerasTensor((None, *shape[1:]))).shape
    assert open_batch == (None, *eager[1:])


def test_every_batch_size_through_one_model():
    model = keras.Sequential([keras.Input((T, 2)), FoldTime(T), UnfoldTime(T)])
    for size in (1, 5):
        x = numbers(size, T, 2)
        np.testing.assert_array_equal(model.predict(x, verbose=0), x)


def test_any_model_runs_over_a_sequence():
    images = keras.Input((4, 3, 2))
    x = keras.layers.Flatten()(keras.layers.Conv2D(3, 2)(images))
    model = keras.Model(images, keras.layers.Dense(2)(x))
    over_time = keras.Sequential([keras.Input((T, 4, 3, 2)), FoldTime(T), model, UnfoldTime(T)])
    assert over_time.output_shape == (None, T, 2)
    sequence = np.random.default_rng(0).random((BATCH, T, 4, 3, 2)).astype("float32")
    each = [ops.convert_to_numpy(ops.stop_gradient(model(sequence[:, t]))) for t in range(T)]
    found = over_time.predict_on_batch(sequence)
    np.testing.assert_allclose(found, np.stack(each, axis=1), atol=1e-5)
    found = ops.convert_to_numpy(mean_logits(ops.convert_to_tensor(found)))
    np.testing.assert_allclose(found, np.mean(each, axis=0), atol=1e-5)


def test_dropout_shares_its_mask_over_time_but_not_over_samples():
    layer = TimeSharedDropout(0.5, T, seed=1)
    found = ops.convert_to_numpy(layer(np.ones((T * BATCH, 200), "float32"), training=True))
    steps = found.reshape(T, BATCH, 200)
    np.testing.assert_array_equal(steps, np.broadcast_to(steps[:1], steps.shape))
    assert set(np.unique(found)) == {0.0, 2.0}
    for one in range(BATCH):
        for other in range(one):
            assert (steps[0, one] != steps[0, other]).any()
    assert np.mean(found == 0) == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(BATCH * 200))


@pytest.mark.parametrize("rate", [0.1, 0.75])
def test_dropout_keeps_the_expectation(rate):
    layer = TimeSharedDropout(rate, 2, seed=0)
    found = ops.convert_to_numpy(layer(np.ones((2 * 20, 500), "float32"), training=True))
    np.testing.assert_allclose(np.unique(found), [0, 1 / (1 - rate)], rtol=1e-6)
    spread = np.sqrt(rate / (1 - rate) / (20 * 500))
    assert found.mean() == pytest.approx(1.0, abs=4 * spread)


def test_dropout_draws_anew_each_call_and_repeats_under_one_seed():
    x = np.ones((T * BATCH, 50), "float32")
    layers = [TimeSharedDropout(0.5, T, seed=seed) for seed in (7, 7, 8)]
    first, same, other = [ops.convert_to_numpy(layer(x, training=True)) for layer in layers]
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()
    assert (first != ops.convert_to_numpy(layers[0](x, training=True))).any()


@pytest.mark.parametrize("options", [dict(training=False), dict()], ids=str)
def test_dropout_rests_outside_training(options):
    x = numbers(T * BATCH, 5)
    found = ops.convert_to_numpy(TimeSharedDropout(0.5, T)(x, **options))
    np.testing.assert_array_equal(found, x)


def test_zero_rate_drops_nothing():
    x = numbers(T * BATCH, 5)
    found = ops.convert_to_numpy(TimeSharedDropout(0.0, T)(x, training=True))
    np.testing.assert_array_equal(found, x)


def test_half_precision_stays_half():
    layer = TimeSharedDropout(0.5, T, dtype="mixed_float16")
    found = layer(np.ones((T, 8), "float32"), training=True)
    assert keras.backend.standardize_dtype(found.dtype) == "float16"


@pytest.mark.parametrize(
    "layer", [UnfoldTime(T, name="s"), FoldTime(T, name="f"), TimeSharedDropout(0.25, T, seed=3)]
)
def test_config_round_trip(layer):
    copy = keras.layers.deserialize(keras.layers.serialize(layer))
    assert type(copy) is type(layer)
    assert copy.get_config() == layer.get_config()
    assert copy.timesteps == T


@pytest.mark.parametrize("timesteps", [0, -1, 2.0, "4", True, None])
@pytest.mark.parametrize("layer", [UnfoldTime, FoldTime, lambda t: TimeSharedDropout(0.1, t)])
def test_bad_timesteps(layer, timesteps):
    with pytest.raises(ValueError, match="timesteps must be an integer of at least 1; received"):
        layer(timesteps)


@pytest.mark.parametrize("rate", [-0.1, 1.0, 2, float("nan")])
def test_bad_rate(rate):
    with pytest.raises(ValueError, match=rf"rate must lie in \[0, 1\); received {rate}; 0"):
        TimeSharedDropout(rate, T)
