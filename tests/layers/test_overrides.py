"""A network under another surrogate against one built with that surrogate."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_dep import LIF
from keras_dep import PLIF
from keras_dep import UnfoldTime
from keras_dep.attacks.losses import cross_entropy
from keras_dep.curvature.operators import Hessian
from keras_dep.layers import Folded
from keras_dep.layers import overrides
from keras_dep.layers.overrides import with_surrogate
from keras_dep.losses import MeanLogitCrossentropy
from tests.support import native


def network(surrogate, width=None):
    """A nested network with a neuron that has weights."""
    keras.utils.set_random_seed(3)
    inner = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(6), LIF(2, surrogate=surrogate, width=width)]
    )
    return keras.Sequential(
        [
            keras.Input((4,)),
            Folded(2),
            inner,
            keras.layers.Dense(6),
            PLIF(2, surrogate=surrogate, width=width),
            keras.layers.Dense(3),
            UnfoldTime(2),
        ]
    )


def data():
    draw = np.random.default_rng(1)
    return draw.normal(0, 2, (10, 4)).astype("float32"), draw.integers(0, 3, 5).astype("int32")


def input_gradient(model):

    x, y = (ops.convert_to_tensor(array) for array in data())
    return ops.convert_to_numpy(native.input_gradient(model, cross_entropy)(x, y))


@pytest.mark.parametrize("name, width", [("arctan", None), ("sigmoid", 0.7)])
def test_derivatives_are_those_of_a_network_built_so(name, width):
    model = network("triangle")
    before = input_gradient(model)
    substituted = with_surrogate(model, name, width)
    found = input_gradient(substituted)
    np.testing.assert_allclose(found, input_gradient(network(name, width)), atol=1e-6)
    assert np.abs(found - before).max() > 1e-3
    np.testing.assert_array_equal(input_gradient(model), before)
    x, _ = data()
    np.testing.assert_array_equal(substituted.predict_on_batch(x), model.predict_on_batch(x))


def test_curvature_is_that_of_a_network_built_so():
    x, y = data()

    def product(model):
        hessian = Hessian(model, MeanLogitCrossentropy())
        vector = np.linspace(-1, 1, sum(np.size(weight) for weight in model.get_weights()))
        found = hessian.at(x, y)(ops.convert_to_tensor(vector, "float32"))
        return ops.convert_to_numpy(found)

    model = network("triangle")
    found = product(with_surrogate(model, "arctan"))
    np.testing.assert_allclose(found, product(network("arctan")), rtol=1e-4, atol=1e-6)
    assert np.abs(found - product(model)).max() > 1e-3


def test_weights_are_shared_also_after_a_step():
    model = network("triangle")
    substituted = with_surrogate(model, "arctan")
    x, _ = data()
    first = substituted.predict_on_batch(x)
    model.set_weights([weight + 0.3 for weight in model.get_weights()])
    second = substituted.predict_on_batch(x)
    assert np.abs(first - second).max() > 1e-3
    np.testing.assert_array_equal(second, model.predict_on_batch(x))
    assert len(substituted.trainable_variables) == len(model.trainable_variables)


def test_bad_input():
    plain = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)], name="plain")
    with pytest.raises(ValueError, match="spiking layers; received 'plain'"):
        with_surrogate(plain, "arctan")
    with pytest.raises(ValueError, match="surrogate must be one of"):
        with_surrogate(network("triangle"), "step")


def test_attributes_come_back_also_behind_an_error_and_from_a_block_within():
    first, second = LIF(2), LIF(2, threshold=0.3)
    with pytest.raises(RuntimeError, match="stop"):
        with overrides.attributes([first, second], threshold=0.5, timesteps=3):
            with overrides.attributes([first], threshold=0.7):
                assert (first.threshold, second.threshold) == (0.7, 0.5)
            assert (first.threshold, first.timesteps, second.timesteps) == (0.5, 3, 3)
            raise RuntimeError("stop")
    assert (first.threshold, second.threshold) == (1.0, 0.3)
    assert first.timesteps == second.timesteps == 2


def test_nothing_is_replaced_where_a_layer_lacks_an_attribute():
    first, plain = LIF(2), keras.layers.Flatten()
    with pytest.raises(AttributeError, match="threshold"):
        with overrides.attributes([first, plain], threshold=0.5):
            pass
    assert first.threshold == 1.0 and not hasattr(plain, "threshold")
