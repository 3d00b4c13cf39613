"""Turns the nodes of a NIR graph into Keras layers."""

import copy
import dataclasses
import math
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers

from keras_dep._internal.types import Array
from keras_dep._internal.types import ArrayLike
from keras_dep._internal.types import Tensor
from keras_dep.interop.nir import layout
from keras_dep.layers import encoders
from keras_dep.layers import time_axis
from keras_dep.layers.integrator import Integrator
from keras_dep.layers.lif import IF
from keras_dep.layers.lif import LIF
from keras_dep.layers.plif import PLIF


@dataclasses.dataclass(frozen=True)
class Signal:
    """A Keras tensor.

    Attributes:
        tensor: the tensor.
        steps: whether time is folded into its batch axis; if not, all steps are equal.
        flattened: as in `keras_dep.interop.nir.signals.Signal`.
    """

    tensor: Tensor
    steps: bool
    flattened: tuple[int, ...] | None = None


class Reader:
    """Builds the Keras tensors of the nodes of a graph, each node once.

    Args:
        graph: the graph.
        timesteps: number of steps.
        dt: seconds per step.
        encoder: as in `keras_dep.from_nir`.
        neuron: arguments of the neurons that NIR does not define.

    Attributes:
        inputs: the network's input, once it has been read.
        last: whether channels are last.
    """

    def __init__(
        self, graph: Any, timesteps: int, dt: float, encoder: str, neuron: dict[str, Any]
    ) -> None:
        self.graph, self.timesteps, self.dt = graph, timesteps, dt
        self.encoder, self.neuron = encoder, neuron
        self.inputs: Tensor = None
        self.last = keras.config.image_data_format() == "channels_last"
        self._signals: dict[str, Signal | None] = {}

    def signal(self, name: str) -> Signal:
        """Returns the output of the named node."""
        if name not in self._signals:
            node = _in_numpy(self.graph.nodes[name])
            read = _READERS.get(type(node).__name__)
            if read is None:
                raise refusal(name, node, f"be one of {', '.join(_READERS)}")
            # A node that is requested again before it has a signal is part of a cycle.
            self._signals[name] = None
            sources = [self.signal(source) for source, end in self.graph.edges if end == name]
            if not sources and read is not _input:
                raise refusal(name, node, "be fed by another node")
            arriving = self._sum(name, node, sources) if sources else None
            self._signals[name] = read(self, name, node, arriving)
        found = self._signals[name]
        if found is None:
            raise refusal(name, self.graph.nodes[name], "not feed itself")
        return found

    def _sum(self, name: str, node: Any, sources: list[Signal]) -> Signal:
        if len(sources) == 1:
            return sources[0]
        if len({source.flattened for source in sources}) > 1:
            raise refusal(name, node, "add up maps flattened alike")
        if any(source.steps for source in sources):
            sources = [self.in_steps(source) for source in sources]
        total = layers.Add()([source.tensor for source in sources])
        return dataclasses.replace(sources[0], tensor=total)

    def in_steps(self, signal: Signal) -> Signal:
        """Returns the signal with time folded into its batch axis."""
        if signal.steps:
            return signal
        repeated = encoders.DirectEncoding(self.timesteps)(signal.tensor)
        return dataclasses.replace(signal, tensor=repeated, steps=True)


def _in_numpy(node: Any) -> Any:
    """Copies a node, with NumPy arrays in place of its tensors."""
    node = copy.copy(node)
    for key, value in vars(node).items():
        if hasattr(value, "shape") and not isinstance(value, np.ndarray):
            setattr(node, key, layout.in_numpy(value))
    return node


def refusal(name: str, node: Any, must: str) -> ValueError:
    """Returns the error about a node that cannot be read."""
    return ValueError(
        f"node {name!r} must {must}; received {type(node).__name__}; change the graph."
    )


def _input(reader: Reader, name: str, node: Any, _: None) -> Signal:
    shape = layout.keras_shape(node.input_type["input"], reader.last)
    if reader.encoder == "events":
        reader.inputs = keras.Input((reader.timesteps, *shape), name="events")
        return Signal(time_axis.FoldTime(reader.timesteps)(reader.inputs), steps=True)
    reader.inputs = keras.Input(shape, name="image")
    if reader.encoder == "direct":
        return Signal(reader.inputs, steps=False)
    kinds = {"rate": encoders.RateEncoding, "latency": encoders.LatencyEncoding}
    return Signal(kinds[reader.encoder](reader.timesteps)(reader.inputs), steps=True)


def _output(reader: Reader, name: str, node: Any, arriving: Signal) -> Signal:
    if arriving.flattened is not None:
        raise refusal(name, node, "not follow a flattened map")
    return arriving


def _convolution(reader: Reader, name: str, node: Any, arriving: Signal) -> Signal:
    (outputs, _, *window), groups = node.weight.shape, int(np.ravel(node.groups)[0])
    kernel = np.transpose(node.weight, (2, 3, 1, 0))
    tensor, padding = _padded(arriving.tensor, node, window)
    options = {
        "kernel_size": window,
        "strides": _pair(node.stride),
        "padding": padding,
        "dilation_rate": _pair(node.dilation),
        "name": _name(name),
    }
    channels = arriving.tensor.shape[-1 if reader.last else 1]
    if groups == channels > 1:
        layer = layers.DepthwiseConv2D(depth_multiplier=outputs // groups, **options)
        kernel = kernel.reshape(*window, channels, -1)
    else:
        layer = layers.Conv2D(outputs, groups=groups, **options)
    return _layer(arriving, layer, tensor, [kernel, node.bias])


def _padded(tensor: Tensor, node: Any, window: Sequence[int]) -> tuple[Tensor, str]:
    """Pads the tensor if needed, and returns it and the padding left to the Keras layer."""
    padding = node.padding.decode() if isinstance(node.padding, bytes) else node.padding
    if isinstance(padding, str):
        return tensor, padding
    padding = _pair(padding)
    whole = [gap * (size - 1) for gap, size in zip(_pair(node.dilation), window)]
    if not any(padding):
        return tensor, "valid"
    if _pair(node.stride) == (1, 1) and whole == [2 * zeros for zeros in padding]:
        return tensor, "same"
    return layers.ZeroPadding2D(padding)(tensor), "valid"


def _affine(reader: Reader, name: str, node: Any, arriving: Signal) -> Signal:
    if node.weight.ndim != 2:
        raise refusal(name, node, "hold one matrix")
    bias = [node.bias] if hasattr(node, "bias") else []
    layer = layers.Dense(len(node.weight), use_bias=bool(bias), name=_name(name))
    kernel = layout.from_rows(node.weight.T, arriving.flattened)
    arriving = dataclasses.replace(arriving, flattened=None)
    return _layer(arriving, layer, arriving.tensor, [kernel, *bias])


def _flatten(reader: Reader, name: str, node: Any, arriving: Signal) -> Signal:
    shape = layout.map_shape(arriving.tensor.shape[1:], reader.last)
    ends = int(node.start_dim) % len(shape), int(node.end_dim) % len(shape)
    if ends != (0, len(shape) - 1):
        raise refusal(name, node, "flatten all axes")
    flattened = shape if reader.last and len(shape) == 3 else arriving.flattened
    arriving = dataclasses.replace(arriving, flattened=flattened)
    return _layer(arriving, layers.Flatten(name=_name(name)), arriving.tensor)


def _average_pooling(reader: Reader, name: str, node: Any, arriving: Signal) -> Signal:
    tensor, padding = arriving.tensor, _pair(node.padding)
    if any(padding):
        tensor = layers.ZeroPadding2D(padding)(tensor)
    options = {"strides": _pair(node.stride), "name": _name(name)}
    return _layer(arriving, layers.AveragePooling2D(_pair(node.kernel_size), **options), tensor)


def _sum_pooling(reader: Reader, name: str, node: Any, arriving: Signal) -> Signal:
    means = _average_pooling(reader, name, node, arriving)
    return _layer(means, layers.Rescaling(math.prod(_pair(node.kernel_size))), means.tensor)


def _scale(reader: Reader, name: str, node: Any, arriving: Signal) -> Signal:
    scale = _number(node.scale)
    if scale is None:
        raise refusal(name, node, "scale by one number")
    return _layer(arriving, layers.Rescaling(scale, name=_name(name)), arriving.tensor)


def _lif(reader: Reader, name: str, node: Any, arriving: Signal) -> Signal:
    tau = _time_constants(reader, name, node)
    arriving = _driven(name, node, arriving, node.r / tau)
    return _neurons(reader, name, node, arriving, tau)


def _if(reader: Reader, name: str, node: Any, arriving: Signal) -> Signal:
    arriving = _driven(name, node, arriving, np.asarray(node.r, "float64") * reader.dt)
    return _neurons(reader, name, node, arriving, np.inf)


def _neurons(reader: Reader, name: str, node: Any, arriving: Signal, tau: float | Array) -> Signal:
    arriving = reader.in_steps(arriving)
    if np.any(node.v_reset) or np.any(getattr(node, "v_leak", 0)):
        raise refusal(name, node, "rest and reset at 0")
    if not np.all((0 < node.v_threshold) & (node.v_threshold < np.inf)):
        raise refusal(name, node, "have positive and finite thresholds")
    options = {"reset": "hard", **reader.neuron, "name": _name(name)}
    one_tau, threshold = _number(tau), _number(node.v_threshold)
    if one_tau is not None and threshold is not None:
        if math.isinf(one_tau):
            layer = IF(reader.timesteps, threshold, **options)
        else:
            layer = LIF(reader.timesteps, one_tau, threshold, **options)
        return _layer(arriving, layer, arriving.tensor)
    if not np.all((1 < tau) & (tau < np.inf)):
        raise refusal(name, node, "have one tau and threshold, or every tau above dt and finite")
    if threshold is not None:
        options["threshold"] = threshold
    layer = PLIF(reader.timesteps, shared_by="neuron", learn_threshold=threshold is None, **options)
    weights = [-np.log(tau - 1)] + ([np.log(node.v_threshold)] if threshold is None else [])
    weights = [np.ravel(_from_nir(reader, values, arriving)) for values in weights]
    return _layer(arriving, layer, arriving.tensor, weights)


def _li(reader: Reader, name: str, node: Any, arriving: Signal) -> Signal:
    tau = _time_constants(reader, name, node)
    if np.any(node.v_leak):
        raise refusal(name, node, "rest at 0")
    return _integrator(reader, name, node, _driven(name, node, arriving, node.r / tau), tau)


def _i(reader: Reader, name: str, node: Any, arriving: Signal) -> Signal:
    arriving = _driven(name, node, arriving, np.asarray(node.r, "float64") * reader.dt)
    return _integrator(reader, name, node, arriving, np.inf)


def _integrator(
    reader: Reader, name: str, node: Any, arriving: Signal, tau: float | Array
) -> Signal:
    one_tau = _number(tau)
    if one_tau is None:
        raise refusal(name, node, "have one tau")
    arriving = reader.in_steps(arriving)
    layer = Integrator(reader.timesteps, one_tau, name=_name(name))
    return _layer(arriving, layer, arriving.tensor)


def _time_constants(reader: Reader, name: str, node: Any) -> Array:
    """Returns the time constants in steps."""
    tau = np.asarray(node.tau, "float64") / reader.dt
    # In float32 a time constant of one step may lie just below 1.
    if not np.all(tau > 1 - 1e-6):
        raise refusal(name, node, f"have no tau below dt={reader.dt}")
    return tau


def _driven(name: str, node: Any, arriving: Signal, factors: Array) -> Signal:
    """Scales the current by its weight in the update of the potential."""
    factor = _number(factors)
    if factor is None:
        raise refusal(name, node, "have one r for all of its neurons")
    return arriving if factor == 1 else _layer(arriving, layers.Rescaling(factor), arriving.tensor)


def _from_nir(reader: Reader, values: Array, arriving: Signal) -> Array:
    if np.ndim(values) == 3:
        return layout.from_map(values, reader.last)
    return layout.from_rows(values, arriving.flattened)


def _layer(
    arriving: Signal, layer: layers.Layer, tensor: Tensor, weights: Sequence[Array] = ()
) -> Signal:
    """Calls a layer on the tensor, sets its weights, and returns its output."""
    signal = dataclasses.replace(arriving, tensor=layer(tensor))
    if len(weights):
        layer.set_weights(weights)
    return signal


def _number(values: ArrayLike) -> float | None:
    """Returns the number that all values equal to the precision of float32, or `None`."""
    least, most = (float(f"{f(values):.7g}") for f in (np.min, np.max))
    return least if math.isclose(least, most, rel_tol=1e-6) else None


def _pair(value: ArrayLike) -> tuple[int, ...]:
    return tuple(int(size) for size in np.broadcast_to(np.ravel(value), 2))


def _name(name: str) -> str:
    return name.replace("/", "_")


_READERS: dict[str, Callable[..., Signal]] = {
    "Input": _input,
    "Output": _output,
    "Conv2d": _convolution,
    "Linear": _affine,
    "Affine": _affine,
    "Flatten": _flatten,
    "AvgPool2d": _average_pooling,
    "SumPool2d": _sum_pooling,
    "Scale": _scale,
    "LIF": _lif,
    "IF": _if,
    "LI": _li,
    "I": _i,
}
