"""The one private door: where Keras lists the weights that a layer holds itself."""

import gc

import keras
from keras import layers

from keras_dep.optimizers.owners import owners


def test_every_weight_of_a_network_has_the_one_layer_that_made_it():
    inputs = keras.Input((8, 6))
    attended = layers.MultiHeadAttention(2, 3, name="attention")(inputs, inputs)
    inner = keras.Sequential([layers.Conv1D(4, 3), layers.BatchNormalization()], name="inner")
    outputs = layers.Bidirectional(layers.LSTM(3))(inner(attended))
    model = keras.Model(inputs, layers.Dense(2, name="head")(outputs))
    found = owners(model.variables)
    for variable, holders in zip(model.variables, found):
        # A random generator's seed is no weight of a layer.
        if "seed_generator" not in variable.path:
            assert [layer.path for layer in holders] == [variable.path.rpartition("/")[0]]
    assert found[-2:] == [[model.get_layer("head")]] * 2


def test_variables_without_a_layer_and_with_several():
    bare, dense = keras.Variable([1.0]), layers.Dense(3)
    dense.build((None, 4))
    tied = layers.Layer()
    tied.weight = dense.kernel
    assert owners([bare, dense.bias, dense.kernel])[:2] == [[], [dense]]
    assert set(owners([dense.kernel])[0]) == {dense, tied}
    kernel = dense.kernel
    del dense, tied
    gc.collect()
    assert owners([kernel]) == [[]]


def test_objects_that_pretend_to_be_layers_are_not_asked():
    class Proxy:
        @property
        def __class__(self):
            raise RuntimeError("asked")

    proxy = Proxy()
    assert owners([keras.Variable([1.0])]) == [[]]
    del proxy
