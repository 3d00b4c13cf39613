"""Encoders: exact repetition, spikes at the rate of the pixel, straight-through gradients."""

import keras
import numpy as np
import pytest
import scipy.stats
from keras import ops

from keras_dep import DirectEncoding
from keras_dep import LatencyEncoding
from keras_dep import RateEncoding
from tests.support import native

T = 4


def images(*shape):
    return np.random.default_rng(0).random(shape, "float32")


@pytest.mark.parametrize("shape", [(3, 5), (2, 4, 6, 3)], ids=str)
def test_direct_repeats_time_major(shape):
    x = images(*shape)
    found = ops.convert_to_numpy(DirectEncoding(T)(x))
    np.testing.assert_array_equal(found, np.concatenate([x] * T))


def test_direct_gradient_sums_over_steps():
    model = keras.Sequential([keras.Input((5,)), DirectEncoding(T)])
    scale = np.random.default_rng(1).standard_normal((T * 3, 5)).astype("float32")
    gradient = native.input_gradient(model, lambda y, s: s * ops.convert_to_tensor(scale))
    found = gradient(ops.convert_to_tensor(images(3, 5)), ops.zeros(1))
    wanted = scale.reshape(T, 3, 5).sum(axis=0)
    np.testing.assert_allclose(ops.convert_to_numpy(found), wanted, atol=1e-5)


def test_rate_spikes_are_zero_or_one_with_the_pixel_as_probability():
    x = np.linspace(0, 1, 11, dtype="float32").reshape(1, 11)
    count = 4000
    spikes = ops.convert_to_numpy(RateEncoding(count, seed=0)(x))
    assert set(np.unique(spikes)) == {0.0, 1.0}
    share = spikes.mean(axis=0)
    spread = np.sqrt(x[0] * (1 - x[0]) / count)
    assert (np.abs(share - x[0]) <= 4.5 * spread).all()
    assert share[0] == 0.0 and share[-1] == 1.0


def test_poisson_counts_follow_their_law():
    means = np.array([[0.0, 0.1, 0.5, 1.0, 3.0]], "float32")
    count = 20000
    layer = RateEncoding(count, seed=0, law="poisson")
    assert RateEncoding.from_config(layer.get_config()).law == "poisson"
    spikes = ops.convert_to_numpy(layer(means))
    for drawn, mean in zip(spikes.T, (0.0, 0.1, 0.5, 1.0, 1.0)):
        for number in range(5):
            wanted = scipy.stats.poisson.pmf(number, mean)
            spread = np.sqrt(wanted * (1 - wanted) / count)
            assert abs((drawn == number).mean() - wanted) <= 4.5 * spread
        assert (drawn == np.round(drawn)).all() and (mean > 0 or not drawn.any())


def test_an_unknown_law_is_refused():
    with pytest.raises(ValueError, match="law must be one of bernoulli, poisson; received 'gamma'"):
        RateEncoding(T, law="gamma")


def test_rate_draws_steps_samples_and_calls_independently():
    x = np.full((2, 400), 0.5, "float32")
    layer = RateEncoding(T, seed=0)
    calls = [ops.convert_to_numpy(layer(x)).reshape(T * 2, 400) for _ in range(2)]
    rows = np.concatenate(calls)
    agreement = (rows[:, None] == rows[None]).mean(axis=-1)
    agreement = agreement[~np.eye(len(rows), dtype=bool)]
    assert (np.abs(agreement - 0.5) < 5 * 0.5 / np.sqrt(400)).all()


def test_rate_repeats_under_one_seed():
    x = images(3, 50)
    one, same, other = [ops.convert_to_numpy(RateEncoding(T, seed=s)(x)) for s in (5, 5, 6)]
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_rate_is_random_in_training_and_inference_alike():
    x = images(3, 50)
    one, same = [RateEncoding(T, seed=5)(x, training=training) for training in (True, False)]
    np.testing.assert_array_equal(ops.convert_to_numpy(one), ops.convert_to_numpy(same))


def test_values_outside_the_range_act_as_the_nearer_bound():
    x = np.array([[-0.5, 1.5]], "float32")
    spikes = ops.convert_to_numpy(RateEncoding(200)(x))
    assert not spikes[:, 0].any() and spikes[:, 1].all()


def test_rate_gradient_is_one_per_spike():
    model = keras.Sequential([keras.Input((5,)), RateEncoding(T, seed=0)])
    scale = np.random.default_rng(1).standard_normal((T * 3, 5)).astype("float32")
    gradient = native.input_gradient(model, lambda y, s: s * ops.convert_to_tensor(scale))
    found = gradient(ops.convert_to_tensor(images(3, 5)), ops.zeros(1))
    wanted = scale.reshape(T, 3, 5).sum(axis=0)
    np.testing.assert_allclose(ops.convert_to_numpy(found), wanted, atol=1e-5)


def test_latency_spikes_once_and_the_brighter_the_earlier():
    x = np.linspace(0, 1, 256, dtype="float32").reshape(2, 128)
    spikes = ops.convert_to_numpy(LatencyEncoding(T)(x)).reshape(T, 2, 128)
    np.testing.assert_array_equal(spikes.sum(axis=0), 1)
    np.testing.assert_array_equal(spikes.argmax(axis=0), np.round((T - 1) * (1 - x)))
    outside = ops.convert_to_numpy(LatencyEncoding(T)(np.array([[-3.0, 3.0]], "float32")))
    np.testing.assert_array_equal(outside.argmax(axis=0), [T - 1, 0])


def test_latency_gradient_moves_the_spike_to_the_neighbouring_step():
    """The derivative, in the spike's time, of weights interpolated linearly between steps."""
    x = np.array([[0.0, 0.2, 0.5, 0.9, 1.0]], "float32")
    model = keras.Sequential([keras.Input((5,)), LatencyEncoding(T)])
    weights = np.random.default_rng(1).standard_normal((T, 5)).astype("float32")
    gradient = native.input_gradient(model, lambda y, s: s * ops.convert_to_tensor(weights))
    found = ops.convert_to_numpy(gradient(ops.convert_to_tensor(x), ops.zeros(1)))[0]
    times = (T - 1) * (1 - x[0].astype("float64"))
    before, after = np.maximum(times - 1e-5, 0), np.minimum(times + 1e-5, T - 1)
    for pixel, wanted in enumerate(found):
        ends = np.interp([before[pixel], after[pixel]], np.arange(T), weights[:, pixel])
        slope = (ends[1] - ends[0]) / (after[pixel] - before[pixel])
        assert wanted == pytest.approx(-(T - 1) * slope, rel=1e-3)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision(policy):
    for encoder in (DirectEncoding, RateEncoding, LatencyEncoding):
        layer = encoder(1 if encoder is LatencyEncoding else T, dtype=policy)
        found = layer(np.ones((2, 3), "float32"))
        assert keras.backend.standardize_dtype(found.dtype) == layer.compute_dtype
        values = ops.convert_to_numpy(ops.cast(found, "float32"))
        np.testing.assert_array_equal(values, np.ones((layer.timesteps * 2, 3)))


@pytest.mark.parametrize("encoder", [DirectEncoding, RateEncoding, LatencyEncoding])
def test_symbolic_shape_equals_eager(encoder):
    layer = encoder(T)
    assert tuple(layer(images(2, 6, 5, 3)).shape) == (T * 2, 6, 5, 3)
    assert layer.compute_output_shape((2, 6, 5, 3)) == (T * 2, 6, 5, 3)
    assert layer(keras.KerasTensor((None, 6, 5, 3))).shape == (None, 6, 5, 3)


@pytest.mark.parametrize(
    "layer", [DirectEncoding(T, name="e"), RateEncoding(T, seed=9), LatencyEncoding(T)]
)
def test_config_round_trip(layer):
    copy = keras.layers.deserialize(keras.layers.serialize(layer))
    assert type(copy) is type(layer)
    assert copy.get_config() == layer.get_config()
    x = images(2, 9)
    np.testing.assert_array_equal(ops.convert_to_numpy(copy(x)), ops.convert_to_numpy(layer(x)))


@pytest.mark.parametrize("timesteps", [0, 1.5, False])
@pytest.mark.parametrize("encoder", [DirectEncoding, RateEncoding, LatencyEncoding])
def test_bad_timesteps(encoder, timesteps):
    with pytest.raises(ValueError, match=f"timesteps must be an integer.*received {timesteps}"):
        encoder(timesteps)
