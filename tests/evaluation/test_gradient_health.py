"""The state of a gradient, where it is known."""

import keras
import numpy as np
from keras import ops

from keras_dep.attacks import FGSM
from keras_dep.evaluation import gradient_health


def model(function):
    dense = keras.layers.Dense(3, bias_initializer="normal")
    body = [keras.Input((4,)), keras.layers.Lambda(function), dense]
    return keras.Sequential(body)


def test_zeros_and_non_finite_entries_are_counted():
    x = np.full((10, 4), 0.5, "float32")
    x[:3] = 0.1
    x[3:5, 0] = 0.1
    y = np.zeros(10, "int32")
    # ReLU shuts what is below 0.3.
    found = gradient_health(model(lambda v: ops.relu(v - 0.3)), x, y, batch_size=4)
    assert found == {"zero_pixels": 14 / 40, "zero_images": 0.3, "non_finite_images": 0}
    x[6, 1] = 0.0
    broken = model(lambda v: ops.sqrt(v))
    found = gradient_health(broken, x, y, attack=FGSM(loss="margin"))
    assert found == {"zero_pixels": 0.0, "zero_images": 0.0, "non_finite_images": 1}
