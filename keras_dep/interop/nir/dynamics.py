"""Writes neurons, sums and factors as nodes of a NIR graph."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from keras import layers

from keras_dep._internal.types import Array
from keras_dep._internal.types import ArrayLike
from keras_dep._internal.types import Tensor
from keras_dep.interop.nir.signals import Signal
from keras_dep.interop.nir.signals import Writer
from keras_dep.interop.nir.signals import array
from keras_dep.interop.nir.signals import refusal
from keras_dep.interop.nir.signals import single
from keras_dep.layers.plif import PLIF


def write_neurons(
    writer: Writer, layer: layers.Layer, inputs: Sequence[Tensor], output: Tensor
) -> Signal:
    """Writes `LIF`, or `IF` for neurons without leak."""
    if layer.reset != "hard":
        mend = 'NIR has no reset by subtraction, so build with reset="hard"'
        raise refusal(layer, "reset hard", mend)
    signal = writer.signal(inputs[0])
    tau, threshold = layer.tau, layer.threshold
    if isinstance(layer, PLIF):
        tau = layer.time_constants()
        if layer.learn_threshold:
            threshold = array(layer.decay_and_threshold("float32")[1])
    options = {"v_threshold": writer.every(threshold, signal), "v_reset": writer.every(0, signal)}
    if np.all(np.isinf(tau)):
        node = writer.nir.IF(r=writer.every(1 / writer.dt, signal), **options)
    else:
        node = writer.nir.LIF(**_leaky(writer, tau, signal), **options)
    return writer.add(layer.name, node, signal)


def write_integrator(
    writer: Writer, layer: layers.Layer, inputs: Sequence[Tensor], output: Tensor
) -> Signal:
    """Writes `LI`, or `I` for an integrator without leak."""
    signal = writer.signal(inputs[0])
    if math.isinf(layer.tau):
        node = writer.nir.I(r=writer.every(1 / writer.dt, signal))
    else:
        node = writer.nir.LI(**_leaky(writer, layer.tau, signal))
    return writer.add(layer.name, node, signal)


def _leaky(writer: Writer, tau: ArrayLike, signal: Signal) -> dict[str, Array]:
    return {
        "tau": writer.every(np.multiply(tau, writer.dt), signal),
        "r": writer.every(tau, signal),
        "v_leak": writer.every(0, signal),
    }


def write_sum(
    writer: Writer, layer: layers.Layer, inputs: Sequence[Tensor], output: Tensor
) -> Signal:
    """Joins the sources of the inputs: NIR adds the signals of several edges into a node."""
    return _sum(layer, [writer.signal(branch) for branch in inputs])


def write_weighted_sum(
    writer: Writer, layer: layers.Layer, inputs: Sequence[Tensor], output: Tensor
) -> Signal:
    """Writes a `Scale` for each branch."""
    weights = array(layer.weight)
    return _sum(layer, [_scaled(writer, layer, b, weight) for b, weight in zip(inputs, weights)])


def write_gain(
    writer: Writer, layer: layers.Layer, inputs: Sequence[Tensor], output: Tensor
) -> Signal:
    """Writes a `Scale` by a learnt number."""
    return _scaled(writer, layer, inputs[0], array(layer.gain))


def write_rescaling(
    writer: Writer, layer: layers.Layer, inputs: Sequence[Tensor], output: Tensor
) -> Signal:
    """Writes a `Scale` by a fixed number."""
    if layer.offset or np.ndim(layer.scale):
        raise refusal(layer, "scale by one number without offset", "build without it")
    return _scaled(writer, layer, inputs[0], layer.scale)


def _scaled(writer: Writer, layer: layers.Layer, branch: Tensor, factor: ArrayLike) -> Signal:
    signal = writer.signal(branch)
    node = writer.nir.Scale(single(np.full(signal.shape, factor)))
    return writer.add(layer.name, node, signal)


def _sum(layer: layers.Layer, branches: Sequence[Signal]) -> Signal:
    first = branches[0]
    sources = tuple(source for branch in branches for source in branch.sources)
    alike = all(
        (branch.shape, branch.flattened) == (first.shape, first.flattened) for branch in branches
    )
    if not alike or len(set(sources)) < len(sources):
        raise refusal(layer, "add different branches of one shape", "build without it")
    return dataclasses.replace(first, sources=sources)
