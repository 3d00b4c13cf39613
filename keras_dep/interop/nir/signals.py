"""A NIR graph that grows from a Keras network's output backwards."""

import dataclasses

import keras
import numpy as np
from keras import layers

from keras_dep._internal import keras_internals
from keras_dep.interop.nir import layout
from keras_dep.layers import encoders
from keras_dep.layers import time_axis

# What a graph that acts once per step, in inference mode, has no node for.
PASSING = (
    encoders.DirectEncoding,
    time_axis.Folded,
    time_axis.UnfoldTime,
    time_axis.TimeSharedDropout,
    layers.Dropout,
    layers.Identity,
)


@dataclasses.dataclass(frozen=True)
class Signal:
    """The sum of what nodes emit.

    Attributes:
        sources: the nodes' names.
        shape: its NIR shape, `(channels, height, width)` or `(features,)`.
        flattened: the map whose flattening the features are, in Keras' order, or `None` where the
            order is the same.
    """

    sources: tuple
    shape: tuple
    flattened: tuple | None = None


class Writer:
    """Nodes and edges; a tensor is written once.

    Args:
        nir: the package.
        dt: seconds per step.
        last: whether the network's channels are last.
        writers: by type of layer, functions `(writer, layer, inputs, output) -> Signal`.
    """

    def __init__(self, nir, dt, last, writers):
        self.nir, self.dt, self.last, self.writers = nir, dt, last, writers
        self._nodes, self._edges, self._signals = {}, [], {}

    def graph(self, output):
        """The whole graph behind a Keras tensor."""
        signal = self.signal(output)
        if signal.flattened is not None:
            raise ValueError(
                f"model must not end in a flattened map; received {signal.flattened}; add a dense "
                "layer."
            )
        self.add("output", self.nir.Output(np.array(signal.shape)), signal)
        return self.nir.NIRGraph(self._nodes, self._edges)

    def signal(self, tensor):
        """What a Keras tensor carries."""
        if id(tensor) not in self._signals:
            layer, inputs = origin(tensor)
            write = self.writers.get(type(layer))
            if write is None:
                raise refusal(layer, "be of a kind that NIR can hold", "build without it")
            self._signals[id(tensor)] = write(self, layer, inputs, tensor)
        return self._signals[id(tensor)]

    def add(self, name, node, signal, **changes):
        """Adds a node that a signal feeds, and returns the signal behind it."""
        unique, count = name, 2
        while unique in self._nodes:
            unique, count = f"{name}_{count}", count + 1
        self._nodes[unique] = node
        self._edges += [(source, unique) for source in signal.sources]
        return dataclasses.replace(signal, sources=(unique,), **changes)

    def every(self, value, signal):
        """A constant that fits the Keras tensor of a signal, for each of its entries."""
        value = np.asarray(value, "float64")
        if len(signal.shape) == 3:
            whole = np.broadcast_to(value, layout.keras_shape(signal.shape, self.last))
            return single(layout.to_map(whole, self.last))
        return single(layout.to_rows(np.broadcast_to(value, signal.shape), signal.flattened))


def origin(tensor):
    """The layer that a Keras tensor comes from, and that layer's inputs."""
    layer, inputs, _ = keras_internals.origin(tensor)
    return layer, inputs


def behind(tensor):
    """The same, past layers that leave no node."""
    layer, inputs = origin(tensor)
    while isinstance(layer, PASSING):
        layer, inputs = origin(inputs[0])
    return layer, inputs


def refusal(layer, must, mend):
    """The error that a layer cannot be written."""
    kind = type(layer).__name__
    return ValueError(f"layer {layer.name!r} must {must}; received {kind}; {mend}.")


def array(tensor):
    """A tensor or variable in NumPy's double precision."""
    return keras.ops.convert_to_numpy(keras.ops.stop_gradient(tensor)).astype("float64")


def single(values):
    """Values in the precision that other libraries compute in."""
    return np.ascontiguousarray(values, "float32")
