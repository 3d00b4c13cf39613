"""The adaptive-sharpness surrogate gradient."""

import dataclasses
import math
from collections.abc import Sequence
from typing import ClassVar

import keras
from keras import ops

from keras_dep import surrogates
from keras_dep._internal.export import export
from keras_dep._internal.types import Tensor
from keras_dep.attacks.gradient_estimators.base import LayerRule
from keras_dep.attacks.gradient_estimators.base import Memory
from keras_dep.layers.lif import LIF
from keras_dep.layers.overrides import estimator_in_place


@export
@dataclasses.dataclass(frozen=True)
class ASSG(LayerRule):
    """Arctan surrogates as wide as each neuron's potential is far from its threshold.

    For every neuron, step and image the attack keeps running means of the distance to the
    threshold, `M`, and of its deviation, `D`, from gradient to gradient, and takes the steepness
    `a / (M + relaxation D + 1e-4)`. `vanishing` sets `a`: the degree to which the gradient of a
    neuron at its mean distance vanishes, from 0 (not) to 1 (entirely).

    Args:
        vanishing: largest expected degree to which a gradient vanishes, in (0, 1).
        relaxation: weight of the deviation, at least 0.
        mean_decay: decay of the running mean `M` per gradient, in [0, 1).
        deviation_decay: decay of the running mean `D`.

    Raises:
        ValueError: an argument outside its limits.

    Source: arXiv 2512.22522, where `vanishing` is `A` and the code's parameter `A / 2`; with
    `SAPGD` the published attack.

    Example:

    >>> round(ASSG().numbers()[0], 5)
    2.65171
    """

    vanishing: float = 0.85
    relaxation: float = 1.5
    mean_decay: float = 0.9
    deviation_decay: float = 0.9

    ARGUMENTS: ClassVar[tuple[str, ...]] = (
        "vanishing",
        "relaxation",
        "mean_decay",
        "deviation_decay",
    )

    def __post_init__(self) -> None:
        if not 0 < self.vanishing < 1:
            raise ValueError(
                f"vanishing must lie in (0, 1); received {self.vanishing}; 0.85 is usual."
            )
        if not (0 <= self.relaxation < math.inf):
            raise ValueError(
                f"relaxation must be at least 0 and finite; received {self.relaxation}."
            )
        for name in ("mean_decay", "deviation_decay"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in [0, 1); received {getattr(self, name)}.")

    def numbers(self) -> tuple[float, ...]:
        steepness = 2 * math.tan(math.pi * self.vanishing / 2) / math.pi
        return steepness, self.relaxation, self.mean_decay, self.deviation_decay

    def again(self) -> tuple[float, ...]:
        return *self.numbers()[:2], 1.0, 1.0

    def start(self, model: keras.Model, images: Tensor) -> Memory:
        # Within a train step the number of samples may be unknown.
        shapes, samples = [], ops.shape(images)[0]

        def note(layer: LIF, currents: Tensor) -> Tensor:
            steps, _, *rest = currents.shape
            shapes.append((steps, samples, *rest))
            return currents

        with estimator_in_place(model, note):
            model(images[:1], training=False)
        return [[ops.ones(shape), ops.zeros(shape)] for shape in shapes]

    def spikes(
        self, layer: LIF, currents: Tensor, numbers: Sequence[Tensor], memory: Memory | None
    ) -> tuple[Tensor, Memory | None]:
        steepness, relaxation, mean_decay, deviation_decay = numbers
        before = zip(*(ops.unstack(ops.cast(each, currents.dtype)) for each in memory or ()))
        kept = []

        def fire(distance: Tensor) -> Tensor:
            mean, deviation = next(before)
            size = ops.abs(ops.stop_gradient(distance))
            mean = mean_decay * mean + (1 - mean_decay) * size
            size = ops.abs(size - mean)
            deviation = deviation_decay * deviation + (1 - deviation_decay) * size
            kept.append((mean, deviation))
            width = (mean + relaxation * deviation + 1e-4) / steepness
            return surrogates.spike(distance, "arctan", width)

        fired = ops.stack([fired for _, fired in layer.steps(currents, fire)])
        return fired, [ops.cast(ops.stack(each), "float32") for each in zip(*kept)]
