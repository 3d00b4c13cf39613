"""The weights of the penalties of tgo and mpd_sgr along training."""

import keras
import pytest

from keras_dep import LIF
from keras_dep import defences
from keras_dep.defences import TrainingPlan


def strengths(expression, epochs):
    method = defences.get(expression)
    neurons = [method.neuron(timesteps=1, name=name) for name in ("one", "two")]
    model = keras.Sequential([keras.Input((3,)), *neurons, LIF(1)])
    (callback,) = method.callbacks(model, TrainingPlan(epochs=epochs))
    found = []
    for epoch in range(epochs):
        callback.on_epoch_begin(epoch)
        found.append([float(keras.ops.convert_to_numpy(each.strength)) for each in neurons])
    assert all(one == other for one, other in found)
    return [one for one, _ in found]


def test_tgo_rises_along_half_a_cosine():
    assert strengths("tgo(strength=0.4)", 4) == pytest.approx([0.0585786, 0.2, 0.3414214, 0.4])
    assert strengths("tgo", 1) == pytest.approx([0.6])


def test_mpd_sgr_takes_the_mean_of_the_layers():
    assert strengths("mpd_sgr(strength=0.5)", 2) == pytest.approx([0.25, 0.25])
