"""A NIR graph as a Keras network."""

import keras

from keras_dep._internal import validation
from keras_dep.interop.nir import layout
from keras_dep.interop.nir.nodes import Reader
from keras_dep.interop.nir.writing import check_duration
from keras_dep.layers import time_axis
from keras_dep.models.builder import ENCODERS

# What NIR says nothing about.
OPEN = ("surrogate", "width", "detach_reset", "detach_membrane", "recompute")


def from_nir(graph, timesteps, dt=1e-4, encoder="direct", **neuron):
    """A NIR graph as a network to train, from images or frames to `(batch, timesteps, ...)`.

    Edges that meet add up; sum pooling becomes average pooling and a factor; neurons with constants
    of their own become `PLIF`, which learns them. Maps are laid out as Keras is configured.

    Args:
        graph: a `nir.NIRGraph`, its constants arrays or tensors of any library, or the path of a
            file that holds one.
        timesteps: number of steps `T` that the graph runs for, at least 1.
        dt: seconds per step, as when the graph was written.
        encoder: what the graph gets: the image at every step (`"direct"`), its pixels as spikes
            (`"rate"`, `"latency"`), or the frames `(batch, timesteps, ...)` (`"events"`).
        **neuron: arguments of `keras_dep.LIF` that NIR leaves open: `surrogate`, `width`,
            `detach_reset`, `detach_membrane`, `recompute`.

    Returns:
        A `keras.Model`.

    Raises:
        ValueError: a node that is none of `Conv2d`, `Linear`, `Affine`, `Flatten`, `AvgPool2d`,
            `SumPool2d`, `Scale`, `LIF`, `IF`, `LI`, `I`, or whose constants have no counterpart; a
            cycle; more than one input or output; an argument of neurons that the graph decides. The
            line names the node.
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
    for name in neuron:
        if name not in OPEN:
            raise ValueError(
                f"neurons' arguments must be among {', '.join(OPEN)}; received {name}; the graph "
                "decides the others."
            )
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
