"""Which layer holds a variable: an optimizer is built on variables, and they do not tell."""

import gc

import keras

from keras_dep._internal import keras_internals


def owners(variables):
    """The live layers that list each variable among their own weights.

    Keras has no public way from a variable to its layer, so the objects that Python's garbage
    collector tracks are searched once, in a fraction of a second. Sublayers count for themselves:
    the query kernel of an attention layer belongs to its dense sublayer.

    Args:
        variables: list of `keras.Variable`s.

    Returns:
        List of lists of `keras.layers.Layer`s, in the order of `variables`; empty where there is
        none, as for a bare variable or after `gc.freeze()`, and several where layers share it.
    """
    found = {id(variable): [] for variable in variables}
    objects = gc.get_objects()
    # Asking each object itself would run code of proxies and mocks.
    kinds = {kind for kind in set(map(type, objects)) if keras.layers.Layer in kind.__mro__}
    for layer in objects:
        if type(layer) in kinds:
            held = {id(weight) for weight in keras_internals.own_weights(layer)}
            for weight in held & found.keys():
                found[weight].append(layer)
    return [found[id(variable)] for variable in variables]
