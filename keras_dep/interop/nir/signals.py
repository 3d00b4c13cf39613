"""Builds a NIR graph from the output of a Keras network backwards."""

import dataclasses
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from types import ModuleType
from typing import Any
from typing import cast

import keras
import numpy as np
from keras import layers

from keras_dep._internal import keras_internals
from keras_dep._internal.types import Array
from keras_dep._internal.types import ArrayLike
from keras_dep._internal.types import Tensor
from keras_dep.interop.nir import layout
from keras_dep.layers import encoders
from keras_dep.layers import time_axis

# Layers without a node: a graph describes one step in inference mode.
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
    """The sum of the outputs of nodes.

    Attributes:
        sources: the nodes' names.
        shape: its NIR shape, `(channels, height, width)` or `(features,)`.
        flattened: NIR shape of the map that was flattened in Keras' order, or `None` where the
            orders agree.
    """

    sources: tuple[str, ...]
    shape: tuple[int, ...]
    flattened: tuple[int, ...] | None = None


class Writer:
    """Collects the nodes and edges of a graph; writes each tensor once.

    Args:
        nir: the package.
        dt: seconds per step.
        last: whether the network's channels are last.
        writers: by type of layer, functions `(writer, layer, inputs, output) -> Signal`.
    """

    def __init__(
        self,
        nir: ModuleType,
        dt: float,
        last: bool,
        writers: Mapping[type, Callable[..., Signal]],
    ) -> None:
        self.nir, self.dt, self.last, self.writers = nir, dt, last, writers
        self._nodes: dict[str, Any] = {}
        self._edges: list[tuple[str, str]] = []
        self._signals: dict[int, Signal] = {}

    def graph(self, output: Tensor) -> Any:
        """Returns the graph that computes a Keras tensor."""
        signal = self.signal(output)
        if signal.flattened is not None:
            raise ValueError(
                f"model must not end in a flattened map; received {signal.flattened}; add a dense "
                "layer."
            )
        self.add("output", self.nir.Output(np.array(signal.shape)), signal)
        return self.nir.NIRGraph(self._nodes, self._edges)

    def signal(self, tensor: Tensor) -> Signal:
        """Writes the nodes that compute a Keras tensor, and returns their signal."""
        if id(tensor) not in self._signals:
            layer, inputs = origin(tensor)
            write = self.writers.get(type(layer))
            if write is None:
                raise refusal(layer, "be of a kind that NIR can hold", "build without it")
            self._signals[id(tensor)] = write(self, layer, inputs, tensor)
        return self._signals[id(tensor)]

    def add(self, name: str, node: Any, signal: Signal, **changes: Any) -> Signal:
        """Adds a node with a signal as its input, and returns its output."""
        unique, count = name, 2
        while unique in self._nodes:
            unique, count = f"{name}_{count}", count + 1
        self._nodes[unique] = node
        self._edges += [(source, unique) for source in signal.sources]
        return dataclasses.replace(signal, sources=(unique,), **changes)

    def every(self, value: ArrayLike, signal: Signal) -> Array:
        """Broadcasts a constant to the Keras tensor of a signal, and arranges it in NIR's order."""
        value = np.asarray(value, "float64")
        if len(signal.shape) == 3:
            whole = np.broadcast_to(value, layout.keras_shape(signal.shape, self.last))
            return single(layout.to_map(whole, self.last))
        return single(layout.to_rows(np.broadcast_to(value, signal.shape), signal.flattened))


def origin(tensor: Tensor) -> tuple[layers.Layer, Sequence[Tensor]]:
    """Returns the layer that computes a Keras tensor, and the inputs of that layer."""
    layer, inputs, _ = cast(keras_internals.Origin, keras_internals.origin(tensor))
    return layer, inputs


def behind(tensor: Tensor) -> tuple[layers.Layer, Sequence[Tensor]]:
    """Returns the same as `origin`, but skips layers without a node."""
    layer, inputs = origin(tensor)
    while isinstance(layer, PASSING):
        layer, inputs = origin(inputs[0])
    return layer, inputs


def refusal(layer: layers.Layer, must: str, mend: str) -> ValueError:
    """Returns the error about a layer that cannot be written."""
    kind = type(layer).__name__
    return ValueError(f"layer {layer.name!r} must {must}; received {kind}; {mend}.")


def array(tensor: Tensor) -> Array:
    """Returns a tensor or variable as a NumPy array in double precision."""
    return keras.ops.convert_to_numpy(keras.ops.stop_gradient(tensor)).astype("float64")


def single(values: ArrayLike) -> Array:
    """Converts values to float32, the precision of other libraries."""
    return np.ascontiguousarray(values, "float32")
