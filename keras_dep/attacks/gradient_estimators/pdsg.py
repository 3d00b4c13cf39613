"""The surrogate gradient whose width follows the spread of the potentials."""

import dataclasses
import math
from collections.abc import Sequence

from keras import ops

from keras_dep import surrogates
from keras_dep._internal.export import export
from keras_dep._internal.types import Tensor
from keras_dep.attacks.gradient_estimators.base import LayerRule
from keras_dep.attacks.gradient_estimators.base import Memory
from keras_dep.layers.lif import LIF


@export
@dataclasses.dataclass(frozen=True)
class PDSG(LayerRule):
    """Gaussian surrogates with the standard deviation of the layer's potentials up to each step.

    Let `s` be the standard deviation of the potentials up to a step, per channel of a feature map,
    else over the whole layer. The derivative is the normal density with mean `s / 2` and standard
    deviation `s` at the potential minus the threshold.

    Args:
        per_image: take `s` per image, so that an image does not depend on its batch; the published
            rule takes it over the batch.

    Source: arXiv 2503.03272.

    Example:

    >>> PDSG()
    PDSG(per_image=True)
    """

    per_image: bool = True

    def spikes(
        self, layer: LIF, currents: Tensor, numbers: Sequence[Tensor], memory: Memory | None
    ) -> tuple[Tensor, Memory | None]:
        axes = self._axes(len(currents.shape) - 1, layer.channel_axis)
        _, threshold = layer.decay_and_threshold(currents.dtype)
        spread = Spread(axes)

        def fire(distance: Tensor) -> Tensor:
            deviation = spread.joined(ops.stop_gradient(distance + threshold))
            # The primitive of the density at z - 1/2.
            z = (distance / deviation - 0.5) / math.sqrt(2)
            return surrogates.step(distance, 0.5 * ops.erf(z))

        return ops.stack([fired for _, fired in layer.steps(currents, fire)]), None

    def _axes(self, rank: int, channels: int) -> tuple[int, ...]:
        axes = set(range(1 if self.per_image else 0, rank))
        if rank == 4:
            axes -= {channels % rank}
        return tuple(sorted(axes))


class Spread:
    """Running standard deviation over some axes.

    Args:
        axes: the axes.
    """

    def __init__(self, axes: tuple[int, ...]):
        self.axes = axes
        self.count: Tensor = 0.0
        self.mean: Tensor = 0.0
        self.squares: Tensor = 0.0

    def joined(self, tensor: Tensor) -> Tensor:
        """The deviation with one more tensor, over `count - 1`; 1 in place of 0."""
        # The batch size of a traced program may be unknown.
        count = ops.sum(ops.ones_like(tensor), self.axes, keepdims=True)
        mean = ops.mean(tensor, self.axes, keepdims=True)
        squares = ops.sum(ops.square(tensor - mean), self.axes, keepdims=True)
        total, apart = self.count + count, mean - self.mean
        self.squares += squares + ops.square(apart) * (self.count * count / total)
        self.mean += apart * (count / total)
        self.count = total
        deviation = ops.sqrt(self.squares / ops.maximum(total - 1, 1))
        return ops.where(deviation > 0, deviation, ops.ones_like(deviation))
