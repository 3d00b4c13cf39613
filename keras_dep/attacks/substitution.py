"""Another surrogate in the place of the one that a network was trained with."""

import contextlib

from keras_dep import surrogates


@contextlib.contextmanager
def surrogate_in_place(model, surrogate, width):
    """Within the block every spiking layer of a model differentiates by another surrogate.

    Spikes stay what they are; only derivatives change. A function compiled within the block keeps
    them.

    Args:
        model: a `keras.Model`.
        surrogate: one of `keras_dep.surrogates.names()`, or `None` for no change.
        width: its width, or `None` for the usual one.

    Raises:
        ValueError: a model without spiking layers.
    """
    changed = spiking_layers(model) if surrogate is not None else []
    if surrogate is not None and not changed:
        raise ValueError(
            f"surrogate={surrogate!r} needs a model with spiking layers; received {model.name!r}, "
            "which has none; leave surrogate out."
        )
    trained = [(layer, layer.surrogate, layer.width) for layer in changed]
    try:
        for layer in changed:
            layer.surrogate = surrogate
            layer.width = surrogates.usual_width(surrogate) if width is None else width
        yield
    finally:
        for layer, name, usual in trained:
            layer.surrogate, layer.width = name, usual


def spiking_layers(model):
    """The layers of a model, at any depth, that fire with a surrogate derivative."""
    return [layer for layer in model._flatten_layers() if hasattr(layer, "surrogate")]
