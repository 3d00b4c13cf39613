"""The adapter for other libraries: the same logits and weights, another layout."""

import keras
import numpy as np
import pytest

from keras_dep import LIF
from keras_dep import DirectEncoding
from keras_dep import UnfoldTime
from keras_dep.interop import channels_first
from keras_dep.models import inference
from tests.attacks.test_gradient_attacks import linear


def test_same_logits_and_weights():
    body = [
        keras.Input((6, 4, 3)),
        keras.layers.Conv2D(2, 3),
        DirectEncoding(2),
        LIF(2),
        keras.layers.Flatten(),
        keras.layers.Dense(4),
        UnfoldTime(2),
    ]
    model = keras.Sequential(body)
    adapted = channels_first(model)
    x = np.random.default_rng(0).random((2, 6, 4, 3)).astype("float32")
    found = inference.logits(adapted, np.moveaxis(x, -1, 1))
    np.testing.assert_allclose(found, inference.logits(model, x), atol=1e-6)
    assert {id(w) for w in adapted.trainable_variables} == {
        id(w) for w in model.trainable_variables
    }


def test_other_inputs_are_refused():
    with pytest.raises(ValueError, match="model must take images .batch, height, width, channels"):
        channels_first(linear()[0])
