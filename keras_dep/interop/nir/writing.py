"""Writes a Keras network as a NIR graph."""

import math
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from keras_dep._internal.types import Tensor
from keras_dep.interop.nir import dynamics
from keras_dep.interop.nir import layout
from keras_dep.interop.nir import synapses
from keras_dep.interop.nir.signals import PASSING
from keras_dep.interop.nir.signals import Signal
from keras_dep.interop.nir.signals import Writer
from keras_dep.layers import batch_normalization
from keras_dep.layers import encoders
from keras_dep.layers import pooling
from keras_dep.layers import residual
from keras_dep.layers import time_axis
from keras_dep.layers.integrator import Integrator
from keras_dep.layers.lif import IF
from keras_dep.layers.lif import LIF
from keras_dep.layers.plif import PLIF


def to_nir(model: keras.Model, dt: float = 1e-4) -> Any:
    """Writes a spiking network in inference mode as a NIR graph, which runs once per time step.

    Batch normalisation is folded into the convolution or dense layer before it, or becomes a 1 x 1
    convolution by a diagonal matrix, as pixel normalisation does. Grouped convolutions become
    ungrouped ones; `PooledTo` is folded into the dense layer after it. Dropout, `DirectEncoding`
    and `UnfoldTime` have no node: a graph takes the image and returns outputs at every step. An
    encoder or `FoldTime` at the input has none either: the graph takes encoded data. Quantised
    dense layers are written with dequantised weights; their inputs are not quantised. Save the
    graph by `nir.write(path, graph)`.

    Args:
        model: a functional or sequential `keras.Model` with one input and one output, built.
        dt: seconds per step; other libraries assume 1e-4.

    Returns:
        A `nir.NIRGraph`, weights and constants in float32.

    Raises:
        ValueError: a layer that NIR cannot hold, such as neurons that reset by subtraction, ReLU or
            maximum pooling; the line names it.
        ImportError: package `nir` is not installed.

    Example:

    >>> neurons = LIF(timesteps=4, reset="hard", name="neurons")
    >>> body = [layers.Dense(2, name="dense"), encoders.DirectEncoding(4), neurons]
    >>> model = keras.Sequential([keras.Input((3,)), *body])
    >>> list(to_nir(model).nodes)
    ['input', 'dense', 'neurons', 'output']
    """
    nir = layout.library()
    if not getattr(model, "inputs", None):
        raise ValueError(
            f"model must be a functional or sequential model that is built; received "
            f"{type(model).__name__}."
        )
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ValueError(
            f"model must have one input and one output; received {len(model.inputs)} and "
            f"{len(model.outputs)}."
        )
    check_duration(dt)
    return Writer(nir, dt, _channels_last(model), _WRITERS).graph(model.outputs[0])


def check_duration(dt: float) -> None:
    """Raises `ValueError` unless `dt` is a number of seconds."""
    if not 0 < dt < math.inf:
        raise ValueError(f"dt must be positive and finite; received {dt}; a usual one is 1e-4.")


def _channels_last(model: keras.Model) -> bool:
    found = {layer.data_format for layer in model.layers if hasattr(layer, "data_format")}
    if len(found) > 1:
        raise ValueError(f"model must have one data format; received {', '.join(sorted(found))}.")
    return (found or {keras.config.image_data_format()}).pop() == "channels_last"


def _pass(writer: Writer, layer: layers.Layer, inputs: Sequence[Tensor], output: Tensor) -> Signal:
    return writer.signal(inputs[0])


_WRITERS: dict[type, Callable[..., Signal]] = {
    **dict.fromkeys(PASSING, _pass),
    **synapses.FOLDING,
    layers.InputLayer: synapses.write_input,
    time_axis.FoldTime: synapses.write_encoder,
    encoders.RateEncoding: synapses.write_encoder,
    encoders.LatencyEncoding: synapses.write_encoder,
    layers.BatchNormalization: synapses.write_batch_normalization,
    batch_normalization.MergedBatchNormalization: synapses.write_batch_normalization,
    batch_normalization.StepwiseBatchNormalization: synapses.write_batch_normalization,
    batch_normalization.ThresholdDependentBatchNormalization: synapses.write_batch_normalization,
    layers.Normalization: synapses.write_pixel_normalization,
    layers.AveragePooling2D: synapses.write_average_pooling,
    pooling.AveragePooling2D: synapses.write_average_pooling,
    layers.GlobalAveragePooling2D: synapses.write_global_pooling,
    layers.Flatten: synapses.write_flatten,
    LIF: dynamics.write_neurons,
    IF: dynamics.write_neurons,
    PLIF: dynamics.write_neurons,
    Integrator: dynamics.write_integrator,
    layers.Add: dynamics.write_sum,
    residual.WeightedSum: dynamics.write_weighted_sum,
    residual.SkipInit: dynamics.write_gain,
    layers.Rescaling: dynamics.write_rescaling,
}
