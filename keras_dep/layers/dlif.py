"""LIF neurons with a learnt gain of the input at each step."""

from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

from keras import ops

from keras_dep._internal.export import export
from keras_dep._internal.types import Tensor
from keras_dep.layers.stepwise_lif import StepwiseLIF


@export
class DLIF(StepwiseLIF):
    """`LIF` whose input current is scaled by a learnt number at each step, `p_t x_t`.

    The gains, one per step and shared by all neurons of the layer, start at 1. With them the
    penalty on perturbed membranes, `keras_dep.training.MembranePerturbation`, which measures the
    currents ahead of the gain, leaves the network trainable.

    Args:
        timesteps: number of steps `T` folded into the batch axis, at least 1.
        tau: as in `LIF`; published as `decay=0.99`, which is the default here; or
        threshold: as in `LIF`.
        reset: as in `LIF`; published as `"hard"`, the default here.
        decay: the share that the membrane keeps.
        **kwargs: the other arguments of `LIF`.

    Call arguments:
        inputs: currents `(timesteps * batch, ...)`, time-major.

    Source: Ding et al., "Robust Stable Spiking Neural Networks", ICML 2024, and its released code.

    Example:

    >>> layer = DLIF(timesteps=2, decay=0.0)
    >>> _ = layer.gain.assign([1.0, 3.0])
    >>> ops.convert_to_numpy(layer(ops.full((2, 1), 0.5))).ravel().tolist()
    [0.0, 1.0]
    """

    def __init__(
        self,
        timesteps: int,
        tau: float | None = None,
        threshold: float = 1.0,
        reset: str = "hard",
        decay: float | None = None,
        **kwargs: Any,
    ) -> None:
        if tau is None and decay is None:
            decay = 0.99
        super().__init__(timesteps, tau, threshold, reset, decay=decay, **kwargs)
        self.gain = self.add_weight(
            shape=(timesteps,), initializer="ones", name="gain", autocast=False
        )

    def steps(
        self,
        currents: Tensor,
        fire: Callable[[Tensor], Tensor] | None = None,
        constants: tuple | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """As in `LIF`, with scaled currents."""
        gain = ops.reshape(self.gain, (-1,) + (1,) * (len(currents.shape) - 1))
        return super().steps(currents * ops.cast(gain, currents.dtype), fire, constants)
