"""The mean membrane potentials of a network, as the reference of neurons that adapt to it."""

import keras
from keras import ops

from keras_dep._internal import validation
from keras_dep._internal.types import Array
from keras_dep.layers import time_axis
from keras_dep.layers.base import SpikingLayer


def membrane_signature(
    model: keras.Model, images: Array, batch_size: int = 128
) -> dict[str, Array]:
    """The mean potential of every neuron ahead of its reset, at every step.

    Args:
        model: a functional `keras.Model` with layers of `keras_dep.LIF`, trained.
        images: images `(n, ...)` as the model takes them, usually the clean training set.
        batch_size: images at a time, at least 1.

    Returns:
        Dictionary from the name of each spiking layer to a float32 array `(T, ...)`, which
        `numpy.savez(path, **signature)` keeps.

    Raises:
        ValueError: a model without spiking layers, or one that is no graph of layers; no images.

    Source: Geng and Li, "HoSNN" (neural dynamic signature), arXiv 2308.10373.

    Example:

    >>> import numpy as np
    >>> import keras_dep
    >>> layers = [keras_dep.DirectEncoding(2), keras_dep.LIF(2, tau=2.0, name="lif1")]
    >>> model = keras.Sequential([keras.Input((1,)), *layers])
    >>> membrane_signature(model, np.full((3, 1), 0.5, "float32"))["lif1"].ravel().tolist()
    [0.5, 0.75]
    """
    validation.whole_number("batch_size", batch_size)
    neurons = [layer for layer in getattr(model, "layers", ()) if isinstance(layer, SpikingLayer)]
    if not neurons or not getattr(model, "inputs", None):
        raise ValueError(
            f"a signature needs a graph of layers that spike; received {model.name!r}; build the "
            "network with keras_dep.models.build."
        )
    if not len(images):
        raise ValueError("a signature needs images; received none; pass the training set.")
    currents = keras.Model(model.inputs, [layer.input for layer in neurons])
    sums: dict[str, Array] = {}
    for start in range(0, len(images), batch_size):
        found = currents(ops.convert_to_tensor(images[start : start + batch_size]), training=False)
        found = found if isinstance(found, (list, tuple)) else [found]
        for layer, inputs in zip(neurons, found):
            distances = time_axis.unfold(layer.distances(inputs), layer.timesteps)
            potentials = ops.convert_to_numpy(distances).astype("float64") + layer.threshold
            total = potentials.sum(axis=1)
            sums[layer.name] = sums[layer.name] + total if start else total
    return {name: (total / len(images)).astype("float32") for name, total in sums.items()}
