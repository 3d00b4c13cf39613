"""The gradient of a network's twin without spikes."""

import dataclasses

from keras import ops

from keras_dep._internal.export import export
from keras_dep.attacks.gradient_estimators.base import LayerRule


@export
@dataclasses.dataclass(frozen=True)
class Conversion(LayerRule):
    """The gradient of the same weights with rectified currents in place of spikes.

    The twin of `keras_dep.models.build(..., spiking=False)`, for any spiking network; whether an
    image fools is asked of the network itself, in a second pass.

    Source: Ding et al. 2022 (SNN-RAT), there as conversion-based approximation.

    Example:

    >>> Conversion()
    Conversion()
    """

    def spikes(self, layer, currents, numbers, memory):
        return ops.relu(currents), None

    def ask(self, model, x, numbers, memory):
        outputs, (memory, _) = super().ask(model, x, numbers, memory)
        return outputs, (memory, model(ops.stop_gradient(x), training=False))
