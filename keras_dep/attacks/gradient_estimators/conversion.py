"""The gradient of a network's ANN counterpart."""

import dataclasses
from collections.abc import Sequence

import keras
from keras import ops

from keras_dep._internal.export import export
from keras_dep._internal.types import Tensor
from keras_dep.attacks.gradient_estimators.base import LayerRule
from keras_dep.attacks.gradient_estimators.base import Memory
from keras_dep.layers.lif import LIF


@export
@dataclasses.dataclass(frozen=True)
class Conversion(LayerRule):
    """The gradient of the same weights with rectified currents in place of spikes.

    This is the ANN counterpart, as `keras_dep.models.build(..., spiking=False)` builds it, for any
    spiking network. The outputs are those of the spiking network, from a second pass.

    Source: Ding et al. 2022 (SNN-RAT), there as conversion-based approximation.

    Example:

    >>> Conversion()
    Conversion()
    """

    def spikes(
        self, layer: LIF, currents: Tensor, numbers: Sequence[Tensor], memory: Memory | None
    ) -> tuple[Tensor, Memory | None]:
        return ops.relu(currents), None

    def ask(
        self, model: keras.Model, x: Tensor, numbers: Sequence[Tensor], memory: Memory
    ) -> tuple[Tensor, tuple[Memory, Tensor]]:
        outputs, (memory, _) = super().ask(model, x, numbers, memory)
        return outputs, (memory, model(ops.stop_gradient(x), training=False))
