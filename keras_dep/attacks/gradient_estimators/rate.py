"""Estimators that use the firing rate of a neuron, not the times of its spikes."""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

from keras import ops

from keras_dep._internal.export import export
from keras_dep._internal.types import Tensor
from keras_dep.attacks.gradient_estimators.base import LayerRule
from keras_dep.attacks.gradient_estimators.base import Memory
from keras_dep.attacks.gradient_estimators.base import constant_steps
from keras_dep.attacks.gradient_estimators.base import linear
from keras_dep.layers.lif import LIF


@export
@dataclasses.dataclass(frozen=True)
class BPTR(LayerRule):
    """Backward pass through rate: slope 1 at all steps for a neuron that fires, else 0.

    Source: Ding et al. 2022 (SNN-RAT).

    Example:

    >>> BPTR()
    BPTR()
    """

    def spikes(
        self, layer: LIF, currents: Tensor, numbers: Sequence[Tensor], memory: Memory | None
    ) -> tuple[Tensor, Memory | None]:
        _, fired = constant_steps(layer, currents)
        active = ops.any(fired > 0, axis=0, keepdims=True)
        return linear(fired, currents, ops.cast(active, currents.dtype)), None


@export
@dataclasses.dataclass(frozen=True)
class RGA(LayerRule):
    """Rate gradient approximation: the slope of a neuron's rate over its mean current `x`.

    With decay `d` and threshold `V` the rate rises by `subthreshold` per unit of current up to
    `(1 - d) V`, then linearly to 1 at `2 V`, and is constant beyond. All steps have the slope at
    `x`.

    Args:
        subthreshold: slope for currents too small to make the neuron fire, at least 0.

    Raises:
        ValueError: a negative slope.

    Source: Bu et al., CVPR 2023.

    Example:

    >>> RGA()
    RGA(subthreshold=0.2)
    """

    subthreshold: float = 0.2

    ARGUMENTS: ClassVar[tuple[str, ...]] = ("subthreshold",)

    def __post_init__(self) -> None:
        if not self.subthreshold >= 0:
            raise ValueError(
                f"subthreshold must be at least 0; received {self.subthreshold}; 0.2 is usual."
            )

    def numbers(self) -> tuple[float, ...]:
        return (self.subthreshold,)

    def spikes(
        self, layer: LIF, currents: Tensor, numbers: Sequence[Tensor], memory: Memory | None
    ) -> tuple[Tensor, Memory | None]:
        (low,) = numbers
        decay, threshold = layer.decay_and_threshold(currents.dtype)
        least, most = (1.0 - decay) * threshold, 2.0 * threshold
        high = (1.0 - low * least) / (most - least)
        mean = ops.mean(currents, axis=0, keepdims=True)
        slopes = ops.where(mean > least, high, low) * ops.ones_like(mean)
        within = ops.logical_and(mean >= 0, mean <= most)
        _, fired = constant_steps(layer, currents)
        return linear(fired, currents, ops.where(within, slopes, 0.0)), None
