"""The estimator of the hybrid adversarial attack based on rate and timing."""

import dataclasses
from collections.abc import Callable
from collections.abc import Sequence
from typing import ClassVar
from typing import cast

from keras import ops

from keras_dep import surrogates
from keras_dep._internal.export import export
from keras_dep._internal.types import Tensor
from keras_dep.attacks.gradient_estimators.base import LayerRule
from keras_dep.attacks.gradient_estimators.base import Memory
from keras_dep.attacks.gradient_estimators.base import constant_steps
from keras_dep.attacks.gradient_estimators.base import linear
from keras_dep.layers.lif import LIF


@export
@dataclasses.dataclass(frozen=True)
class HART(LayerRule):
    """Triangular surrogates, with the gradient averaged over time before each layer.

    No gradient flows through the membrane.

    Args:
        width: width of the triangle in units of the potential, positive. The published attack
            tries 0.1 to 2.5 and keeps the strongest.

    Raises:
        ValueError: a width that is not positive.

    Source: Hao et al., ICLR 2024.

    Example:

    >>> HART(width=0.5)
    HART(width=0.5)
    """

    width: float = 1.0

    ARGUMENTS: ClassVar[tuple[str, ...]] = ("width",)

    def __post_init__(self) -> None:
        surrogates.check("triangle", self.width)

    def numbers(self) -> tuple[float, ...]:
        return (self.width,)

    def spikes(
        self, layer: LIF, currents: Tensor, numbers: Sequence[Tensor], memory: Memory | None
    ) -> tuple[Tensor, Memory | None]:
        distances, fired = constant_steps(layer, currents)
        slope = cast(Callable, surrogates.derivative("triangle", *numbers))
        slopes = slope(distances)
        return linear(fired, ops.mean(currents, axis=0, keepdims=True), slopes), None
