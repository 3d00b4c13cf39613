"""Finds layers whose spikes attacks can derive only as the layers do themselves."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence

import keras

from keras_dep._internal import keras_internals
from keras_dep.layers.overrides import spiking_layers

# Layers of Keras that run code from elsewhere, and those that are steps.
OPAQUE = (
    keras.layers.FlaxLayer,
    keras.layers.JaxLayer,
    keras.layers.Lambda,
    keras.layers.TFSMLayer,
    keras.layers.TorchModuleWrapper,
    keras.layers.CategoryEncoding,
    keras.layers.Discretization,
    keras.layers.Hashing,
    keras.layers.IntegerLookup,
)
FUNCTIONS = ("activation", "recurrent_activation")
# Functions of `keras.ops` with the derivative 0 or none, as a spike has, and loops over code from
# elsewhere; lower case, without underscores.
STEPS = frozenset(
    """
    argmax argmin associativescan ceil cond digitize equal floor floordivide foriloop greater
    greaterequal heaviside less lessequal logicaland logicalnot logicalor logicalxor map multihot
    notequal onehot round scan searchsorted sign signbit stopgradient switch trunc vectorizedmap
    whileloop
    """.split()
)


def unknown_layers(model: keras.Model) -> list[str]:
    """Lists parts of a model of neither Keras nor this package, which may fire unknown to attacks.

    Known are:

    - layers whose `call` is Keras' or this package's, with activations of Keras that are no steps;
      a network of convolutions, ReLUs and normalisation is therefore known to have no spikes;
    - layers derived from `keras_dep.layers.SpikingLayer`;
    - operations of Keras in a graph of layers, such as `a + b`, that are no steps.

    Everything else is unknown, also where it has no spikes: layers of Keras that run code from
    elsewhere (`Lambda`, `TorchModuleWrapper`, `JaxLayer`, `FlaxLayer`, `TFSMLayer`) or are steps
    themselves (`Discretization`, `CategoryEncoding`, `IntegerLookup`, `Hashing`), layers and
    models with a `call` of their own, other activations, steps such as `keras.ops.sign`, and layers
    that only have attributes `surrogate` and `width`. A layer that runs foreign code and replaces
    its neurons lists those that it did not understand in `unknown_parts`.

    Returns:
        Sorted list of the names of their types, each once.

    Example:

    >>> unknown_layers(keras.Sequential([keras.layers.Dense(2), keras.layers.Lambda(abs)]))
    ['Lambda']
    >>> steps = keras.layers.Activation(keras.ops.sign)
    >>> unknown_layers(keras.Sequential([keras.layers.Dense(2, "relu"), steps]))
    ['Activation with activation sign']
    """
    spiking = {id(layer) for layer in spiking_layers(model)}
    layers = keras_internals.all_layers(model)
    found = {part for layer in layers if id(layer) not in spiking for part in _unknown_of(layer)}
    return sorted(found | set(_unknown_operations(layers)))


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


def _unknown_of(layer: keras.layers.Layer) -> Iterator[str]:
    parts = getattr(layer, "unknown_parts", None)
    if parts is not None and _package_of(type(layer)) == "keras_dep":
        yield from parts
    elif isinstance(layer, OPAQUE) or _package_of(layer.call) is None:
        yield type(layer).__name__
    for name in FUNCTIONS:
        function = getattr(layer, name, None)
        if callable(function) and not _is_smooth(function):
            function = getattr(function, "__name__", type(function).__name__)
            yield f"{type(layer).__name__} with {name} {function}"


def _unknown_operations(layers: Sequence[keras.layers.Layer]) -> Iterator[str]:
    """Yields operations of the layers' graphs that are steps, or from elsewhere."""
    operations = (each for layer in layers for each in getattr(layer, "operations", ()))
    for each in operations:
        to_integers = hasattr(each, "dtype") and not keras.backend.is_float_dtype(each.dtype)
        if not isinstance(each, keras.layers.Layer) and (
            _package_of(type(each)) is None
            or _plain(type(each).__name__) in STEPS
            or (to_integers and type(each).__name__ == "Cast")
        ):
            yield type(each).__name__


def _is_smooth(activation: Callable) -> bool:
    """Whether an activation is a layer, which is listed by itself, or Keras' and no step."""
    if isinstance(activation, keras.layers.Layer):
        return True
    name = getattr(activation, "__name__", "")
    return _package_of(activation) == "keras" and _plain(name) not in STEPS


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _package_of(function: object) -> str | None:
    """The package that a function or type is from: `"keras"`, `"keras_dep"`, otherwise `None`."""
    module = getattr(function, "__module__", None) or type(function).__module__
    package = module.partition(".")[0]
    return package if package in ("keras", "keras_dep") else None
