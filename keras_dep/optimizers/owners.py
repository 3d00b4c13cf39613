"""Finds the layer that holds a variable; an optimizer is built on variables alone."""

import gc
from collections.abc import Sequence

import keras

from keras_dep._internal import keras_internals


def owners(variables: Sequence[keras.Variable]) -> list[list[keras.layers.Layer]]:
    """Finds the live layers that hold each variable as a weight of their own.

    Keras has no public way from a variable to its layer. Therefore this searches the objects that
    Python's garbage collector tracks, which takes a fraction of a second. Sublayers are searched
    too: the query kernel of an attention layer belongs to its dense sublayer.

    Args:
        variables: the variables.

    Returns:
        For each variable the list of its layers: several where layers share it, none for a variable
        without a layer or after `gc.freeze()`.
    """
    found: dict[int, list[keras.layers.Layer]] = {id(variable): [] for variable in variables}
    objects = gc.get_objects()
    # `isinstance` on every object would run code of proxies and mocks.
    kinds = {kind for kind in set(map(type, objects)) if keras.layers.Layer in kind.__mro__}
    for layer in objects:
        if type(layer) in kinds:
            held = {id(weight) for weight in keras_internals.own_weights(layer)}
            for weight in held & found.keys():
                found[weight].append(layer)
    return [found[id(variable)] for variable in variables]
