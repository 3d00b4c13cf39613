"""A network run on one part of its time steps, from the state that the part before left."""

import contextlib
from collections.abc import Generator
from collections.abc import Mapping
from typing import Any
from typing import TypeAlias

import keras

from keras_dep._internal import keras_internals
from keras_dep._internal.types import Tensor
from keras_dep.layers import encoders
from keras_dep.layers import integrator
from keras_dep.layers import lif
from keras_dep.layers import overrides
from keras_dep.layers import plif
from keras_dep.layers import stochastic_gate
from keras_dep.layers import time_axis
from keras_dep.layers.batch_normalization import StepwiseBatchNormalization

# What layers carry, by their place among the timed ones: membranes, and masks of dropout.
State: TypeAlias = Mapping[str, Tensor]

# By exact type: a subclass may treat its steps differently.
RUN_IN_PERIODS = (
    lif.LIF,
    lif.IF,
    plif.PLIF,
    integrator.Integrator,
    encoders.DirectEncoding,
    encoders.RateEncoding,
    stochastic_gate.StochasticGate,
    StepwiseBatchNormalization,
    time_axis.TimeSharedDropout,
    time_axis.UnfoldTime,
)


def check_periods(network: keras.Model, periods: int) -> None:
    """Checks that a network can run its steps in equal periods.

    Args:
        network: a built `keras.Model` from images to logits `(batch, T, classes)`.
        periods: number of periods.

    Raises:
        ValueError: a layer that cannot run on a part of the steps, or steps that `periods` does not
            divide.
    """
    for layer in _timed(network):
        kind = f"{type(layer).__name__} {layer.name!r}"
        if type(layer) not in RUN_IN_PERIODS:
            known = ", ".join(each.__name__ for each in RUN_IN_PERIODS)
            raise ValueError(
                f"periods need timed layers that may run on a part of the steps, {known}; received "
                f"{kind}; train it without periods."
            )
        if layer.timesteps % periods:
            raise ValueError(
                f"periods must divide the timesteps; received {periods} for timesteps="
                f"{layer.timesteps} of {kind}."
            )
    shape = getattr(network, "output_shape", None)
    steps = {layer.timesteps for layer in _timed(network)}
    if not (isinstance(shape, tuple) and len(shape) == 3 and steps == {shape[1]}):
        raise ValueError(
            "periods need a network from images to logits (batch, timesteps, classes), as "
            f"keras_dep.UnfoldTime gives them; received {network.name!r} of output shape {shape} "
            f"and timesteps {sorted(steps)}."
        )


def run_period(
    network: keras.Model, images: Tensor, periods: int, state: State, training: bool | None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits of the `T / periods` steps that follow a state, and the state behind them.

    Encoders show the image at these steps. `StepwiseBatchNormalization` normalises each as ever;
    other batch normalisation takes statistics over the steps of the period, and its moving
    averages move by the root of its momentum, so that `periods` calls move them as one does.

    Args:
        network: a network that `check_periods` lets pass.
        images: tensor `(batch, ...)`.
        periods: number of periods.
        state: what the period before left; empty at the first.
        training: as in a call.

    Returns:
        Logits `(batch, T / periods, classes)`, and the state, without gradient.
    """
    layers = _timed(network)
    carries = [time_axis.Carry(state.get(str(place))) for place in range(len(layers))]
    with contextlib.ExitStack() as stack:
        for layer, carry in zip(layers, carries):
            steps = layer.timesteps // periods
            stack.enter_context(overrides.attributes([layer], timesteps=steps, carry=carry))
        stack.enter_context(_slower_averages(network, periods))
        outputs = network(images, training=training)
    left = {str(place): carry.last for place, carry in enumerate(carries)}
    return outputs, {place: tensor for place, tensor in left.items() if tensor is not None}


@contextlib.contextmanager
def _slower_averages(network: keras.Model, periods: int) -> Generator[None]:
    with contextlib.ExitStack() as stack:
        for layer in keras_internals.all_layers(network):
            stepwise = isinstance(layer, StepwiseBatchNormalization)
            if isinstance(layer, keras.layers.BatchNormalization) and not stepwise:
                momentum = layer.momentum ** (1 / periods)
                stack.enter_context(overrides.attributes([layer], momentum=momentum))
        yield


def _timed(network: keras.Model) -> list[Any]:
    layers = keras_internals.all_layers(network)
    return [layer for layer in layers if isinstance(layer, time_axis.Timed)]
