"""One small spiking network that has learnt something, and images that it was not shown."""

import keras
import numpy as np
import pytest

from keras_dep import LIF
from keras_dep import DirectEncoding
from keras_dep import MeanLogitCrossentropy
from keras_dep import UnfoldTime

SIDE, CLASSES, T = 6, 3, 2


def bars(count, seed):
    """Images with one bright row out of three, in noise."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, CLASSES, count).astype("int32")
    images = draw.uniform(0.2, 0.6, (count, SIDE, SIDE, 1))
    images[np.arange(count), 2 * labels] += 0.25
    return images.clip(0, 1).astype("float32"), labels


def network(scale=2.0, width=2.0, **neuron):
    body = [
        keras.Input((SIDE, SIDE, 1)),
        keras.layers.Rescaling(scale, offset=-scale / 2),
        keras.layers.Flatten(),
        keras.layers.Dense(32),
        DirectEncoding(T),
        LIF(T, width=width, **neuron),
        keras.layers.Dense(CLASSES),
        UnfoldTime(T),
    ]
    return keras.Sequential(body)


def train(model, epochs=12, seed=0):
    # The same start on every backend.
    draw = np.random.default_rng(seed)
    model.set_weights([draw.normal(0, 1 / np.sqrt(len(w)), w.shape) for w in model.get_weights()])
    model.compile(keras.optimizers.Adam(0.01), loss=MeanLogitCrossentropy())
    model.fit(*bars(256, seed), batch_size=64, epochs=epochs, shuffle=False, verbose=0)
    return model


@pytest.fixture(scope="session")
def honest():
    return train(network())


@pytest.fixture(scope="session")
def held_out():
    return bars(40, seed=9)
