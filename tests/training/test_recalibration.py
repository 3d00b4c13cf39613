"""Running statistics measured anew."""

import keras
import numpy as np
import pytest

from keras_dep.training import recalibrate


def test_statistics_are_those_of_the_images_and_weights_stay():
    images = np.random.default_rng(0).uniform(size=(160, 3)).astype("float32")
    norm = keras.layers.BatchNormalization(momentum=0.5)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), norm])
    norm.moving_mean.assign([50.0, -50.0])
    kernel = keras.ops.convert_to_numpy(model.layers[0].kernel)
    recalibrate(model, images, batch_size=8)
    expected = np.zeros(2)
    for start in range(0, 160, 8):
        expected = 0.5 * expected + 0.5 * (images[start : start + 8] @ kernel).mean(0)
    found = keras.ops.convert_to_numpy(norm.moving_mean)
    # Of the former mean 2^-20 is left.
    np.testing.assert_allclose(found, expected, atol=1e-4)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(model.layers[0].kernel), kernel)


def test_no_images_are_refused():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="images must be at least one"):
        recalibrate(model, np.zeros((0, 3), "float32"))


def test_few_images_are_taken_again_until_nothing_former_is_left():
    norm = keras.layers.BatchNormalization(momentum=0.9)
    model = keras.Sequential([keras.Input((1,)), norm])
    norm.moving_mean.assign([100.0])
    recalibrate(model, np.full((3, 1), 0.25, "float32"), batch_size=8)
    assert abs(float(norm.moving_mean[0]) - 0.25) < 0.1
