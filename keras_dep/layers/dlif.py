"""LIF neurons with a learnt gain of the input at each step."""

from keras import ops

from keras_dep._internal.export import export
from keras_dep._internal.types import Tensor
from keras_dep.layers import time_axis
from keras_dep.layers.lif import LIF


@export
class DLIF(LIF):
    """`LIF` whose input current is scaled by a learnt number at each step, `p_t x_t`.

    The gains, one per step and shared by all neurons of the layer, start at 1. With them the
    penalty on perturbed membranes, `keras_dep.training.MembranePerturbation`, leaves the network
    trainable.

    Args:
        timesteps: number of steps `T` folded into the batch axis, at least 1.
        tau: as in `LIF`; published with `decay=0.99`, which is the default here; or
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
        **kwargs,
    ):
        if tau is None and decay is None:
            decay = 0.99
        super().__init__(timesteps, tau, threshold, reset, decay=decay, **kwargs)
        self.gain = self.add_weight(
            shape=(timesteps,), initializer="ones", name="gain", autocast=False
        )

    def call(self, inputs: Tensor) -> Tensor:
        return super().call(self._scaled(inputs))

    def distances(self, inputs: Tensor) -> Tensor:
        """As in `LIF`."""
        return super().distances(self._scaled(inputs))

    def _scaled(self, inputs):
        currents = time_axis.unfold(inputs, self.timesteps)
        gain = ops.reshape(self.gain, (-1,) + (1,) * (len(currents.shape) - 1))
        return time_axis.fold(currents * ops.cast(gain, currents.dtype))
