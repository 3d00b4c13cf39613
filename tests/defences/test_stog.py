"""When the openings of stochastic gates are learnt, and what moves them."""

import keras
import numpy as np
import pytest

from keras_dep import DEP
from keras_dep import CoupledWeightDecay
from keras_dep import defences
from keras_dep.defences import TrainingPlan
from keras_dep.layers import StochasticGate


def network():
    gate = StochasticGate(1, gamma=0.0, seed=0)
    return keras.Sequential([keras.Input((3,)), gate, keras.layers.Dense(2)])


@pytest.mark.parametrize("expression", ["stog", "dep+stog", "stog+dep"])
def test_weight_decay_spares_the_openings(expression):
    model = network()
    optimizer = CoupledWeightDecay(keras.optimizers.SGD(0.5), 0.5)
    optimizer = defences.get(expression).wrapped(optimizer, TrainingPlan())
    assert isinstance(optimizer, DEP) == ("dep" in expression)
    before = model.get_weights()
    model.compile(optimizer, lambda y, x: keras.ops.sum(x * 0.0), run_eagerly=True)
    model.train_on_batch(np.ones((2, 3)), np.ones((2, 2)))
    opening, kernel = model.layers[0].get_weights()[0], model.layers[1].get_weights()[0]
    np.testing.assert_array_equal(opening, before[0])
    np.testing.assert_allclose(kernel, 0.75 * model_kernel(model, before), rtol=1e-6)


def model_kernel(model, weights):
    """The kernel among weights in the order of the model."""
    place = [variable.path for variable in model.weights].index(model.layers[1].kernel.path)
    return weights[place]


@pytest.mark.parametrize("epochs, learnt", [(1, 1), (2, 1), (3, 2), (200, 100)])
def test_openings_are_learnt_in_the_first_half(epochs, learnt):
    model = network()
    (callback,) = defences.get("stog").callbacks(model, TrainingPlan(epochs=epochs))
    for epoch in range(epochs):
        callback.on_epoch_begin(epoch)
        frozen = float(keras.ops.convert_to_numpy(model.layers[0].is_frozen))
        assert frozen == (epoch >= learnt)
