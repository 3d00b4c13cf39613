"""Spike rates of a network on a batch, and its operations and energy."""

import dataclasses
import math

import keras
from keras import ops

from keras_dep import surrogates
from keras_dep._internal import compilation
from keras_dep._internal import keras_internals
from keras_dep._internal.types import Array
from keras_dep._internal.types import Record
from keras_dep.layers.base import SpikingLayer
from keras_dep.layers.time_axis import Timed
from keras_dep.models import inference

# Picojoules of a 32-bit addition, and of a multiplication with it, in 45 nm.
ACCUMULATE_PJ = 0.9
MULTIPLY_ACCUMULATE_PJ = 4.6
# Bounds between the shares of `LayerActivity.membrane`, in widths of the surrogate.
EDGES = (-1.0, -0.5, 0.0, 0.5, 1.0)


@dataclasses.dataclass(frozen=True)
class LayerActivity:
    """One layer on one batch; operations are per sample, summed over its time steps.

    Attributes:
        name: the layer's name.
        kind: its class.
        parameters: number of its weights.
        neurons: number of its neurons, 0 for other layers.
        rate: spikes per neuron and time step, `None` for other layers.
        dead: share of neurons that never fire on the batch, or `None`.
        saturated: share of neurons that fire at every step of every sample, or `None`.
        membrane: shares of the potentials ahead of the reset whose distance to the threshold lies
            below, between and above `EDGES` times the surrogate's width, or `None`.
        accumulates: additions caused by spikes: the share of non-zero inputs times the
            multiplications of a dense layer of its shape.
        multiplications: multiplications of a layer whose inputs are not spikes.
        dense: multiplications of one pass without spikes and without time.
    """

    name: str
    kind: str
    parameters: int
    neurons: int = 0
    rate: float | None = None
    dead: float | None = None
    saturated: float | None = None
    membrane: tuple[float, ...] | None = None
    accumulates: float = 0.0
    multiplications: float = 0.0
    dense: int = 0

    @property
    def near_threshold(self) -> float | None:
        """Share of potentials within a width of the threshold, where the triangle has slope."""
        return None if self.membrane is None else sum(self.membrane[1:-1])


@dataclasses.dataclass(frozen=True)
class Activity:
    """A network on one batch: its `layers`, and their sums. `str` of it is a table."""

    layers: tuple[LayerActivity, ...]

    @property
    def spike_rate(self) -> float | None:
        """Spikes per neuron and time step, or `None` without spiking layers."""
        return self._mean("rate")

    @property
    def dead(self) -> float | None:
        """Share of neurons that never fire, or `None` without spiking layers."""
        return self._mean("dead")

    @property
    def saturated(self) -> float | None:
        """Share of neurons that fire at every step, or `None` without spiking layers."""
        return self._mean("saturated")

    @property
    def accumulates(self) -> float:
        """Synaptic operations per sample."""
        return sum(layer.accumulates for layer in self.layers)

    @property
    def multiplications(self) -> float:
        """Multiply-accumulate operations per sample."""
        return sum(layer.multiplications for layer in self.layers)

    @property
    def energy(self) -> float:
        """Picojoules per sample of its operations; memory and neurons are not counted."""
        additions = ACCUMULATE_PJ * self.accumulates
        return additions + MULTIPLY_ACCUMULATE_PJ * self.multiplications

    @property
    def dense_energy(self) -> float:
        """Picojoules per sample of one pass of the ANN counterpart."""
        return MULTIPLY_ACCUMULATE_PJ * sum(layer.dense for layer in self.layers)

    @property
    def energy_ratio(self) -> float:
        """`energy / dense_energy`."""
        return self.energy / self.dense_energy if self.dense_energy else math.nan

    def _mean(self, name):
        firing = [layer for layer in self.layers if layer.neurons]
        total = sum(layer.neurons for layer in firing)
        shares = [layer.neurons * getattr(layer, name) for layer in firing]
        return sum(shares) / total if total else None

    def __str__(self) -> str:
        header = ("layer", "parameters", "rate", "dead", "saturated", "near", "AC", "MAC")
        rows: list[tuple[str, ...]] = [header]
        for layer in self.layers:
            shares = (layer.rate, layer.dead, layer.saturated, layer.near_threshold)
            rows.append(
                (layer.name, f"{layer.parameters:,}")
                + tuple("" if share is None else f"{share:.4f}" for share in shares)
                + (f"{layer.accumulates:.3g}", f"{layer.multiplications:.3g}")
            )
        widths = [max(map(len, column)) for column in zip(*rows)]
        lines = ["  ".join(map(str.rjust, row, widths)) for row in rows]
        lines.append(
            f"{self.energy / 1e6:.4g} uJ a sample, {self.energy_ratio:.3g} of the "
            f"{self.dense_energy / 1e6:.4g} uJ of one pass without spikes"
        )
        return "\n".join(lines)


class ActivityProbe:
    """Measures the activity of a network's neurons on a batch, in inference mode.

    Layers derived from `keras_dep.layers.SpikingLayer`, dense layers and convolutions are measured;
    a layer that only has a method `distances` is not. So are the neurons of a network of
    `keras_dep.interop.from_torch`, the operations of whose other parts are not counted. The outputs
    of layers without weights, such as pooling and sums, count as spikes if their inputs do: each
    non-zero entry causes one addition per synapse. Layers with other inputs multiply. Frames of
    events count as spikes.

    Args:
        model: a functional or sequential `keras.Model`, built, without models inside.

    Raises:
        ValueError: a model that is no graph of layers.

    Source: Horowitz 2014 (energy per operation); Rathi and Roy 2021 (its use for spiking networks).

    Example:

    >>> from keras_dep import models
    >>> network = models.build("vgg5", input_shape=(8, 8, 1), num_classes=10)
    >>> activity = ActivityProbe(network)(ops.ones((2, 8, 8, 1)))
    >>> len(activity.layers), 0 <= activity.spike_rate <= 1
    (7, True)
    """

    def __init__(self, model: keras.Model) -> None:
        if not getattr(model, "inputs", None):
            raise ValueError(
                f"model must be a functional or sequential model that is built; received "
                f"{type(model).__name__}."
            )
        self.model = model
        self._constants = None
        self._follow_changes()

    def __call__(self, x: Array) -> Activity:
        """Returns the `Activity` of the model as it is now.

        Args:
            x: array or tensor `(batch, ...)`, inputs of the model.
        """
        self._follow_changes()
        found = inference.predict(self._statistics, x)
        # Keras returns a single output without its list.
        found = found if isinstance(found, (list, tuple)) else [found]
        activities: list[LayerActivity] = []
        for layer, values in zip(self._layers, found):
            if _holds_neurons(layer):
                activities += _activities_inside(layer, values)
            else:
                activities.append(_layer_activity(layer, values, len(x)))
        return Activity(tuple(activities))

    def _follow_changes(self):
        """Rebuilds the measurement if layers or their constants have changed."""
        model, constants = self.model, compilation.constants(self.model)
        if constants == self._constants:
            return
        kinds = (_fires, _weighs, _holds_neurons)
        self._layers = [layer for layer in model.layers if any(kind(layer) for kind in kinds)]
        statistics = [_statistics(layer)(layer.input) for layer in self._layers]
        inputs = model.inputs if len(model.inputs) > 1 else model.inputs[0]
        self._statistics = keras.Model(inputs, statistics)
        self._constants = constants


def _fires(layer):
    return isinstance(layer, SpikingLayer)


def _weighs(layer):
    kinds = (keras.layers.Dense, keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
    return isinstance(layer, kinds)


def _holds_neurons(layer):
    """Whether a layer runs layers of neurons of its own, and tells their inputs."""
    return hasattr(layer, "neuron_inputs")


def _statistics(layer):
    if _fires(layer):
        return _NeuronStatistics(layer)
    return _StatisticsInside(layer) if _holds_neurons(layer) else _InputShare()


def _activities_inside(layer, values):
    """The activities of a layer's own neurons; operations of its other parts are not counted."""
    for neurons, (size, rate, dead, saturated, *membrane) in zip(layer.neurons, values):
        yield LayerActivity(
            name=neurons.name,
            kind=neurons.kind,
            parameters=neurons.count_params(),
            neurons=int(size),
            rate=float(rate),
            dead=float(dead),
            saturated=float(saturated),
            membrane=tuple(map(float, membrane)),
        )


def _layer_activity(layer, values, samples):
    options: Record = {
        "name": layer.name,
        "kind": type(layer).__name__,
        "parameters": layer.count_params(),
    }
    if _fires(layer):
        rate, dead, saturated, *membrane = map(float, values)
        neurons = math.prod(layer.output.shape[1:])
        return LayerActivity(
            **options,
            neurons=neurons,
            rate=rate,
            dead=dead,
            saturated=saturated,
            membrane=tuple(membrane),
        )
    share, rows = map(float, values)
    dense = math.prod(layer.kernel.shape[:-1]) * math.prod(layer.output.shape[1:])
    if _is_spikes(layer.input):
        return LayerActivity(**options, dense=dense, accumulates=share * dense * rows / samples)
    return LayerActivity(**options, dense=dense, multiplications=dense * rows / samples)


def _is_spikes(tensor):
    """Tells whether a tensor comes from spiking layers, with no weights in between."""
    operation, sources, _ = keras_internals.origin(tensor)
    if isinstance(operation, Timed) and operation.emits_spikes:
        return True
    if not sources or getattr(operation, "weights", ()):
        return False
    return all(map(_is_spikes, sources))


class _NeuronStatistics(keras.layers.Layer):
    """Rate, dead and saturated shares, and membrane distribution of a spiking layer."""

    def __init__(self, neurons: SpikingLayer) -> None:
        super().__init__(dtype="float32")
        self.neurons = neurons

    def call(self, inputs):
        distances = ops.cast(self.neurons.distances(inputs), "float32")
        fired = ops.cast(distances >= 0, "float32")
        dead, every = 1.0 - ops.mean(ops.max(fired, axis=0)), ops.mean(ops.min(fired, axis=0))
        bounds = [bound * self.neurons.width for bound in EDGES]
        below = [ops.mean(ops.cast(distances < bound, "float32")) for bound in bounds]
        below = ops.stack([0.0 * dead, *below, 1.0 + 0.0 * dead])
        found = ops.concatenate([ops.stack([ops.mean(fired), dead, every]), below[1:] - below[:-1]])
        # Comparisons hide NaN: put it back.
        return found + ops.mean(surrogates.undefined(distances))

    def compute_output_shape(self, input_shape):
        return (3 + len(EDGES) + 1,)


class _StatisticsInside(keras.layers.Layer):
    """The number of neurons and the statistics of each layer of neurons that a layer runs."""

    def __init__(self, network: keras.layers.Layer) -> None:
        super().__init__(dtype="float32")
        self.network = network
        self.statistics = [_NeuronStatistics(each) for each in network.neurons]

    def call(self, inputs):
        found = []
        for statistics, currents in zip(self.statistics, self.network.neuron_inputs(inputs)):
            size = ops.cast(math.prod(currents.shape[1:]), "float32")
            found.append(ops.concatenate([ops.stack([size]), statistics(currents)]))
        return ops.stack(found)

    def compute_output_shape(self, input_shape):
        return (len(self.statistics), 4 + len(EDGES) + 1)


class _InputShare(keras.layers.Layer):
    """Share of non-zero entries, and the number of rows."""

    def call(self, inputs):
        share = ops.mean(ops.cast(inputs != 0, "float32"))
        return ops.stack([share, ops.cast(ops.shape(inputs)[0], "float32")])

    def compute_output_shape(self, input_shape):
        return (2,)
