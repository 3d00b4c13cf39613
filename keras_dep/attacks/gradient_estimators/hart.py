"""The estimator of the hybrid adversarial attack based on rate and timing."""

import dataclasses
from typing import ClassVar

from keras import ops

from keras_dep import surrogates
from keras_dep._internal.export import export
from keras_dep.attacks.gradient_estimators.base import LayerRule
from keras_dep.attacks.gradient_estimators.base import constant_steps
from keras_dep.attacks.gradient_estimators.base import linear


@export
@dataclasses.dataclass(frozen=True)
class HART(LayerRule):
    """Triangular surrogates, their gradient averaged over time in front of each layer.

    No gradient flows through the membrane.

    Args:
        width: width of the triangle in units of the potential, positive. The published attack
            searches from 0.1 to 2.5 for the one that fools the most.

    Raises:
        ValueError: a width that is not positive.

    Source: Hao et al., ICLR 2024.

    Example:

    >>> HART(width=0.5)
    HART(width=0.5)
    """

    width: float = 1.0

    ARGUMENTS: ClassVar[tuple[str, ...]] = ("width",)

    def __post_init__(self):
        surrogates.check("triangle", self.width)

    def numbers(self):
        return (self.width,)

    def spikes(self, layer, currents, numbers, memory):
        distances, fired = constant_steps(layer, currents)
        slopes = surrogates.derivative("triangle", *numbers)(distances)
        return linear(fired, ops.mean(currents, axis=0, keepdims=True), slopes), None
