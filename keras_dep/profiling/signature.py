"""The mean membrane potentials of a network, the reference of neurons that adapt to it."""

from typing import Any

import keras
from keras import ops

from keras_dep._internal import validation
from keras_dep._internal.types import Array
from keras_dep._internal.types import Shape
from keras_dep._internal.types import Tensor
from keras_dep.layers import time_axis
from keras_dep.layers.lif import LIF
from keras_dep.models import inference


def membrane_signature(model: keras.Model, images: Any, batch_size: int = 128) -> dict[str, Array]:
    """The mean potential of every neuron before its reset, at every step.

    Args:
        model: a functional `keras.Model` with layers of `keras_dep.LIF`, trained.
        images: images `(n, ...)` as the model takes them, usually the clean training set; an array,
            or what gives arrays for slices.
        batch_size: images at a time, at least 1.

    Returns:
        Dictionary from the name of each layer to a float32 array `(T, ...)`;
        `numpy.savez(path, **signature)` writes it to a file.

    Raises:
        ValueError: a model without layers of `keras_dep.LIF` or one that is no graph of layers; no
            images.

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
    # Neurons of a subclass may have another threshold at each step.
    neurons = [
        layer
        for layer in getattr(model, "layers", ())
        if isinstance(layer, LIF) and type(layer).steps is LIF.steps
    ]
    if not neurons or not getattr(model, "inputs", None):
        raise ValueError(
            f"a signature needs a graph of layers with keras_dep.LIF; received {model.name!r}; "
            "build the network with keras_dep.models.build."
        )
    if not len(images):
        raise ValueError("a signature needs images; received none; pass the training set.")
    inputs = model.inputs if len(model.inputs) > 1 else model.inputs[0]
    outputs = {layer.name: _Potentials(layer)(layer.input) for layer in neurons}
    potentials = keras.Model(inputs, outputs)
    sums: dict[str, Array] = {}
    count = 0
    for start in range(0, len(images), batch_size):
        found = inference.predict(potentials, images[start : start + batch_size])
        # Within the scope of a strategy each replica answers for the whole batch.
        count += len(found[neurons[0].name])
        for name, each in found.items():
            total = each.sum(axis=0, dtype="float64")
            sums[name] = sums[name] + total if start else total
    return {name: (total / count).astype("float32") for name, total in sums.items()}


class _Potentials(keras.layers.Layer):
    """Potentials of neurons before their reset, `(batch, T, ...)`."""

    def __init__(self, neurons: LIF) -> None:
        super().__init__(dtype="float32", autocast=False)
        self.neurons = neurons

    def call(self, inputs: Tensor) -> Tensor:
        distances = self.neurons.distances(inputs)
        _, threshold = self.neurons.decay_and_threshold(distances.dtype)
        potentials = time_axis.unfold(distances + threshold, self.neurons.timesteps)
        return ops.cast(ops.swapaxes(potentials, 0, 1), "float32")

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch, *sizes = input_shape
        steps = self.neurons.timesteps
        return (None if batch is None else batch // steps, steps, *sizes)
