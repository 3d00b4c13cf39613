"""Reads a NIR graph as a Keras network."""

from typing import Any

import keras

from keras_dep._internal import validation
from keras_dep.interop.nir import layout
from keras_dep.interop.nir.nodes import Reader
from keras_dep.interop.nir.writing import check_duration
from keras_dep.layers import time_axis
from keras_dep.models.builder import ENCODERS


def from_nir(
    graph: Any,
    timesteps: int,
    dt: float = 1e-4,
    encoder: str = "direct",
    *,
    surrogate: str | None = None,
    width: float | None = None,
    detach_reset: bool | None = None,
    detach_membrane: bool | None = None,
    recompute: bool | None = None,
) -> keras.Model:
    """Builds a trainable network of a NIR graph; its outputs are `(batch, timesteps, ...)`.

    Signals of several edges into a node are added; sum pooling becomes average pooling and a
    factor; neurons with individual constants become `PLIF`, which learns them. Maps have the image
    data format that Keras is configured with.

    Args:
        graph: a `nir.NIRGraph`, its constants arrays or tensors of any library, or the path of a
            file that holds one.
        timesteps: number of steps `T` to run, at least 1.
        dt: seconds per step, as when the graph was written.
        encoder: input of the graph: the image at every step (`"direct"`), its pixels as spikes
            (`"rate"`, `"latency"`), or the frames `(batch, timesteps, ...)` (`"events"`).
        surrogate: surrogate derivative of the neurons, as in `keras_dep.LIF`. NIR does not define
            this or the following arguments; their default is that of `keras_dep.LIF`.
        width: width of the surrogate.
        detach_reset: whether no gradient flows through the reset.
        detach_membrane: whether no gradient flows through the membrane of the step before.
        recompute: whether the backward pass computes the membranes again, to save memory.

    Returns:
        A `keras.Model`.

    Raises:
        ValueError: a node that is none of `Conv2d`, `Linear`, `Affine`, `Flatten`, `AvgPool2d`,
            `SumPool2d`, `Scale`, `LIF`, `IF`, `LI`, `I`, or whose constants have no counterpart; a
            cycle; or more than one input or output. The line names the node.
        ImportError: package `nir` is not installed.

    Example:

    >>> import keras_dep
    >>> neurons = [keras_dep.DirectEncoding(4), keras_dep.LIF(timesteps=4, reset="hard")]
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), *neurons])
    >>> keras_dep.from_nir(keras_dep.to_nir(model), timesteps=4).output_shape
    (None, 4, 2)
    """
    nir = layout.library()
    time_axis.check_timesteps(timesteps)
    check_duration(dt)
    validation.one_of("encoder", encoder, ENCODERS)
    given = {
        "surrogate": surrogate,
        "width": width,
        "detach_reset": detach_reset,
        "detach_membrane": detach_membrane,
        "recompute": recompute,
    }
    neuron = {name: value for name, value in given.items() if value is not None}
    if not isinstance(graph, nir.NIRGraph):
        graph = nir.read(graph)
    inputs, outputs = list(graph.inputs), list(graph.outputs)
    if len(inputs) != 1 or len(outputs) != 1:
        raise ValueError(
            f"graph must have one input and one output; received {len(inputs)} and {len(outputs)}."
        )
    reader = Reader(graph, timesteps, dt, encoder, neuron)
    answer = reader.in_steps(reader.signal(outputs[0]))
    return keras.Model(reader.inputs, time_axis.UnfoldTime(timesteps)(answer.tensor))
