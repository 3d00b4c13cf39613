"""Finds layers whose spikes attacks can derive only as the layers do themselves."""

import keras

from keras_dep._internal import keras_internals
from keras_dep.layers.overrides import spiking_layers

# Layers of Keras that run code from elsewhere.
WRAPPERS = (
    keras.layers.FlaxLayer,
    keras.layers.JaxLayer,
    keras.layers.Lambda,
    keras.layers.TFSMLayer,
    keras.layers.TorchModuleWrapper,
)
FUNCTIONS = ("activation", "recurrent_activation")


def unknown_layers(model: keras.Model) -> list[str]:
    """Lists layers of neither Keras nor this package, which may fire unknown to an attack.

    Known are layers whose `call` and activations come from Keras or this package, and layers
    derived from `keras_dep.layers.SpikingLayer`. A layer that only has attributes `surrogate` and
    `width` counts as unknown.

    Returns:
        Sorted list of the names of their types, each once.

    Example:

    >>> unknown_layers(keras.Sequential([keras.layers.Dense(2), keras.layers.Lambda(abs)]))
    ['Lambda']
    """
    spiking = {id(layer) for layer in spiking_layers(model)}
    found = set()
    for layer in keras_internals.all_layers(model):
        if id(layer) in spiking:
            continue
        if isinstance(layer, WRAPPERS) or not _of_keras_or_ours(type(layer).call):
            found.add(type(layer).__name__)
        for name in FUNCTIONS:
            function = getattr(layer, name, None)
            if callable(function) and not _of_keras_or_ours(function):
                function = getattr(function, "__name__", type(function).__name__)
                found.add(f"{type(layer).__name__} with {name} {function}")
    return sorted(found)


def layers_without_estimator(model: keras.Model) -> list[str]:
    """Lists the types of spiking layers that take a surrogate, but no gradient estimator."""
    layers = spiking_layers(model)
    return sorted({type(each).__name__ for each in layers if not each.takes_estimator})


def blind_spot(model: keras.Model) -> str | None:
    """Returns in one clause why attacks do not reach all spikes of a model, or `None`.

    Example:

    >>> blind_spot(keras.Sequential([keras.layers.Dense(2)])) is None
    True
    """
    unknown, plain = unknown_layers(model), layers_without_estimator(model)
    if unknown:
        return (
            f"{', '.join(unknown)} may hold spikes, which only layers derived from keras_dep.LIF "
            "let an attack derive by another rule"
        )
    if plain:
        return f"{', '.join(plain)} takes no rule for its spikes but a surrogate"
    return None


def _of_keras_or_ours(function):
    module = getattr(function, "__module__", None) or type(function).__module__
    return module.partition(".")[0] in ("keras", "keras_dep")
