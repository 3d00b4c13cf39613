"""LIF neurons with a learnt gain of the input at each step."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

from keras import ops

from keras_dep._internal.export import export
from keras_dep._internal.types import Array
from keras_dep._internal.types import Tensor
from keras_dep.layers import time_axis
from keras_dep.layers.lif import LIF


@export
class DLIF(LIF):
    """`LIF` whose input current is scaled by a learnt number at each step, `p_t x_t`.

    The gains, one per step and shared by all neurons of the layer, start at 1. They keep the
    network trainable under the penalty `keras_dep.training.MembranePerturbation`, which reads the
    currents before the gain.

    Args:
        timesteps: number of steps `T` folded into the batch axis, at least 1.
        tau: as in `LIF`; default: the published `decay=0.99`. Alternatively:
        threshold: as in `LIF`.
        reset: as in `LIF`; published as `"hard"`, the default here.
        decay: the share that the membrane keeps, `1 - 1/tau`.
        **kwargs: the other arguments of `LIF`.

    Call arguments:
        inputs: currents `(timesteps * batch, ...)`, time-major.

    Raises:
        ValueError: an argument outside its limits.

    Source: Ding et al., "Robust Stable Spiking Neural Networks", ICML 2024, and its released code.

    Example:

    >>> layer = DLIF(timesteps=2, decay=0.0)
    >>> _ = layer.gain.assign([1.0, 3.0])
    >>> ops.convert_to_numpy(layer(ops.full((2, 1), 0.5))).ravel().tolist()
    [0.0, 1.0]
    """

    weights_per_step = True

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

    def learnt_constants(self) -> dict[str, Array]:
        """The gains."""
        return {"gain": ops.convert_to_numpy(self.gain)}

    def distances(self, inputs: Tensor) -> Tensor:
        """As in `LIF`."""
        return super().distances(time_axis.fold(self._scaled(self._currents(inputs), self.gain)))

    def steps(
        self,
        currents: Tensor,
        fire: Callable[[Tensor], Tensor] | None = None,
        constants: tuple[Any, Any] | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """As in `LIF`, with scaled currents."""
        return super().steps(self._scaled(currents, self.gain), fire, constants)

    def _learnt(self, dtype: str) -> tuple[Tensor, ...]:
        return (ops.cast(self.gain, dtype),)

    def _constants(self, learnt: Sequence[Tensor]) -> tuple:
        # Steps get scaled currents, so that they need no gains.
        return super()._constants(())

    def _program(self) -> Callable[..., Tensor]:
        spikes = super()._program()

        def program(currents: Tensor, gain: Tensor) -> Tensor:
            return spikes(self._scaled(currents, gain))

        return program

    def _scaled(self, currents: Tensor, gain: Tensor) -> Tensor:
        """Currents `(T, batch, ...)` times the gain of their step, in the membrane's dtype."""
        gain = ops.reshape(gain, (-1,) + (1,) * (len(currents.shape) - 1))
        return ops.cast(gain, self._membrane_dtype) * ops.cast(currents, self._membrane_dtype)
