"""Adapts a model to the interface of other attack libraries."""

import keras
from keras import layers

from keras_dep.losses import mean_logits


def channels_first(model: keras.Model) -> keras.Model:
    """Adapts a network to images `(batch, channels, height, width)` and logits `(batch, classes)`.

    On the torch backend a Keras model is a `torch.nn.Module`, so that attack libraries for torch
    accept the adapted one; torchattacks is tested. Weights are shared, logits averaged over time.

    Args:
        model: a `keras.Model` from images `(batch, height, width, channels)` in [0, 1] to logits
            `(batch, classes)` or `(batch, time, classes)`.

    Returns:
        A `keras.Model`.

    Raises:
        ValueError: the model takes other inputs.

    Example:

    >>> model = keras.Sequential([keras.Input((8, 6, 3)), layers.Flatten(), layers.Dense(10)])
    >>> adapted = channels_first(model)
    >>> adapted.input_shape, adapted.output_shape
    ((None, 3, 8, 6), (None, 10))
    """
    if len(model.input_shape) != 4:
        raise ValueError(
            "model must take images (batch, height, width, channels); received inputs "
            f"{model.input_shape}."
        )
    height, width, channels = model.input_shape[1:]
    inputs = keras.Input((channels, height, width))
    outputs = model(layers.Permute((2, 3, 1))(inputs))
    return keras.Model(inputs, mean_logits(outputs), name=f"{model.name}_channels_first")
