"""Temporary overrides of layer attributes, such as the surrogate derivative."""

import contextlib
from collections.abc import Callable
from collections.abc import Generator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import keras

from keras_dep import surrogates
from keras_dep._internal import keras_internals
from keras_dep._internal.types import Tensor
from keras_dep.layers.base import SpikingLayer


def with_surrogate(model: keras.Model, name: str, width: float | None = None) -> keras.Model:
    """The same network under another surrogate derivative.

    It shares the weights of `model`, also while `model` trains. Spikes and logits are equal; only
    derivatives differ. Use it to measure and attack; save and train `model` itself.

    Args:
        model: a built `keras.Model` with layers derived from `keras_dep.layers.SpikingLayer`.
        name: one of `keras_dep.surrogates.names()`.
        width: width of the surrogate; default: `keras_dep.surrogates.usual_width(name)`.

    Returns:
        A `keras.Model` that shares the variables of `model`.

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
def attributes(layers: Sequence[keras.layers.Layer], **values: Any) -> Generator[None]:
    """Within the block, attributes of layers have other values; afterwards they are restored.

    A function compiled within the block keeps the values of the block.

    Args:
        layers: layers that have the attributes.
        **values: the value of each attribute by name, the same for all layers.

    Yields:
        `None`.

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


def _set(layer: keras.layers.Layer, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        setattr(layer, name, value)


def surrogate_in_place(
    model: keras.Model, name: str | None, width: float | None = None
) -> contextlib.AbstractContextManager[None]:
    """Within the block, all spiking layers of a model use another surrogate.

    Args:
        model: as in `with_surrogate`.
        name: as in `with_surrogate`; `None` changes nothing.
        width: as in `with_surrogate`.

    Returns:
        The context manager of the block.

    Raises:
        ValueError: as in `with_surrogate`.
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


def estimator_in_place(
    model: keras.Model, estimator: Callable[..., Tensor]
) -> contextlib.AbstractContextManager[None]:
    """Within the block, all spiking layers of a model compute `estimator(layer, currents)`.

    Args:
        model: a model whose spiking layers all take an estimator.
        estimator: a function from a layer and its currents `(T, batch, ...)` to spikes like them.

    Returns:
        The context manager of the block.

    Raises:
        ValueError: a model without spiking layers, or with one that takes no estimator.
    """
    return attributes(layers_with_estimator(model), estimator=estimator)


def spiking_layers(model: keras.Model) -> list[SpikingLayer]:
    """The layers of a model, at any depth, that derive from `keras_dep.layers.SpikingLayer`.

    A layer that only has attributes `surrogate` and `width` is not included.
    """
    return [layer for layer in keras_internals.all_layers(model) if isinstance(layer, SpikingLayer)]


def layers_with_estimator(model: keras.Model) -> list[SpikingLayer]:
    """The spiking layers of a model, if all take an estimator.

    Args:
        model: a model with spiking layers.

    Returns:
        The layers, in the model's order.

    Raises:
        ValueError: a model without spiking layers, or with one that takes no estimator.
    """
    layers = spiking_layers(model)
    strange = {type(layer).__name__ for layer in layers if not layer.takes_estimator}
    if strange or not layers:
        what = f"{', '.join(sorted(strange))}, which takes none" if strange else "none"
        raise ValueError(
            f"an estimator needs spiking layers derived from keras_dep.LIF; received {what} in "
            f"{model.name!r}; use surrogate= instead, or neither."
        )
    return layers


def surrogate_of(model: keras.Model) -> str:
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
    def __init__(self, model: keras.Model, surrogate: str, width: float | None) -> None:
        super().__init__(name=f"{model.name}_{surrogate}")
        self.network = model
        self._surrogate = surrogate, width
        self.built = True

    def surrogate_in_words(self) -> str:
        """As `surrogate_of`."""
        with surrogate_in_place(self.network, *self._surrogate):
            return surrogate_of(self.network)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        # Override during the call or its tracing, instead of building a second graph.
        with surrogate_in_place(self.network, *self._surrogate):
            return self.network(inputs, training=training)
