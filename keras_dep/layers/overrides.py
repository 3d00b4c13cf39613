"""Attributes of layers replaced for the length of a block: a network under another surrogate."""

import contextlib

import keras

from keras_dep import surrogates
from keras_dep._internal import keras_internals
from keras_dep.layers.base import SpikingLayer


def with_surrogate(model, name, width=None):
    """The same network whose spikes have another surrogate derivative.

    Spikes, logits and weights are those of `model`, now and after each step of its training; only
    derivatives differ. For measuring and attacking: save and train the model itself.

    Args:
        model: a built `keras.Model` with layers derived from `keras_dep.layers.SpikingLayer`.
        name: one of `keras_dep.surrogates.names()`.
        width: width of the surrogate; default: the usual one of its name.

    Returns:
        A `keras.Model` with the variables of `model`.

    Raises:
        ValueError: an unknown surrogate, or a model without spiking layers.

    Example:

    >>> from keras_dep import LIF
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), LIF(timesteps=1)])
    >>> smooth = with_surrogate(model, "arctan")
    >>> smooth.trainable_variables[0] is model.trainable_variables[0]
    True
    """
    with surrogate_in_place(model, name, width):
        return _Substituted(model, name, width)


@contextlib.contextmanager
def attributes(layers, **values):
    """Within the block, attributes of layers have other values; afterwards those from before.

    A function compiled within the block keeps the values.

    Args:
        layers: list of layers that have the attributes.
        **values: the value of each attribute by name, the same for all layers.

    Example:

    >>> from keras_dep import LIF
    >>> layer = LIF(timesteps=1)
    >>> with attributes([layer], threshold=0.5):
    ...     layer.threshold
    0.5
    >>> layer.threshold
    1.0
    """
    before = [(layer, {name: getattr(layer, name) for name in values}) for layer in layers]
    try:
        for layer, _ in before:
            _set(layer, values)
        yield
    finally:
        for layer, kept in before:
            _set(layer, kept)


def _set(layer, values):
    for name, value in values.items():
        setattr(layer, name, value)


def surrogate_in_place(model, name, width=None):
    """Within the block every spiking layer of a model differentiates by another surrogate.

    Arguments and errors are those of `with_surrogate`, but a `name` of `None` changes nothing.
    """
    if name is None:
        return attributes([])
    width = surrogates.usual_width(name) if width is None else width
    surrogates.check(name, width)
    layers = spiking_layers(model)
    if not layers:
        raise ValueError(
            f"surrogate {name!r} needs a model with spiking layers; received {model.name!r}, "
            "which has none; leave the surrogate out."
        )
    return attributes(layers, surrogate=name, width=width)


def estimator_in_place(model, estimator):
    """Within the block every spiking layer of a model fires as `estimator(layer, currents)`.

    Raises:
        ValueError: a model without spiking layers, or with one that takes no estimator.
    """
    return attributes(layers_with_estimator(model), estimator=estimator)


def spiking_layers(model):
    """The layers of a model, at any depth, that derive from `keras_dep.layers.SpikingLayer`.

    A layer that only has attributes `surrogate` and `width` is not among them.
    """
    return [layer for layer in keras_internals.all_layers(model) if isinstance(layer, SpikingLayer)]


def layers_with_estimator(model):
    """The spiking layers of a model, all of which take an estimator.

    Raises:
        ValueError: a model without spiking layers, or with one that takes no estimator.
    """
    layers = spiking_layers(model)
    strange = {type(layer).__name__ for layer in layers if not layer.takes_estimator}
    if strange or not layers:
        what = f"{', '.join(sorted(strange))}, which takes none" if strange else "none"
        raise ValueError(
            f"an estimator needs spiking layers derived from keras_dep.LIF; received {what} in "
            f"{model.name!r}; name a surrogate, or neither."
        )
    return layers


def surrogate_of(model):
    """The surrogate derivative of a model's spikes, in words; `"none"` where nothing spikes.

    Example:

    >>> from keras_dep import LIF
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), LIF(timesteps=1)])
    >>> surrogate_of(model), surrogate_of(with_surrogate(model, "arctan"))
    ('triangle, width 1', 'arctan, width 0.5')
    """
    if isinstance(model, _Substituted):
        return model.surrogate_in_words()
    found = {f"{layer.surrogate}, width {layer.width:g}" for layer in spiking_layers(model)}
    return "; ".join(sorted(found)) or "none"


class _Substituted(keras.Model):
    def __init__(self, model, surrogate, width):
        super().__init__(name=f"{model.name}_{surrogate}")
        self.network = model
        self._surrogate = surrogate, width
        self.built = True

    def surrogate_in_words(self):
        with surrogate_in_place(self.network, *self._surrogate):
            return surrogate_of(self.network)

    def call(self, inputs, training=None):
        # For the length of this call, or of its tracing: no second graph is built.
        with surrogate_in_place(self.network, *self._surrogate):
            return self.network(inputs, training=training)
