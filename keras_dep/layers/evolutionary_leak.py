"""LIF neurons that learn the leak of every neuron at every step."""

import math
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

from keras_dep._internal.export import export
from keras_dep._internal.types import Array
from keras_dep._internal.types import Shape
from keras_dep._internal.types import Tensor
from keras_dep.layers.base import known_sizes
from keras_dep.layers.stepwise_lif import StepwiseLIF


@export
class EvolutionaryLeakLIF(StepwiseLIF):
    """`LIF` with a learnt decay per neuron and step, `u_t = lambda_t v_{t-1} + x_t`.

    The decays start at `1 - 1/tau`. As published they are not constrained: they may exceed 1 or
    become negative, and weight decay acts on them as on any weight. They are stored as one vector,
    which `DEP` does not project.

    Args:
        timesteps: number of steps `T` folded into the batch axis, at least 1.
        tau: membrane time constant at the start; default: infinite, the published decay of 1.
            Alternatively:
        threshold: as in `LIF`.
        reset: as in `LIF`; published as `"hard"`, the default here.
        decay: the decay at the start, `1 - 1/tau`.
        **kwargs: the other arguments of `LIF`.

    Call arguments:
        inputs: currents `(timesteps * batch, ...)` of known sizes, time-major.

    Raises:
        ValueError: an argument outside its limits, or sizes that are not known.

    Source: Xu et al., "FEEL-SNN", NeurIPS 2024.

    Example:

    >>> layer = EvolutionaryLeakLIF(timesteps=2)
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
            tau = math.inf
        super().__init__(timesteps, tau, threshold, reset, decay=decay, **kwargs)
        self.built = False

    def build(self, input_shape: Shape) -> None:
        self._shape = known_sizes(input_shape, "EvolutionaryLeakLIF")
        self.leak = self.add_weight(
            shape=(self.timesteps * math.prod(self._shape),),
            initializer=keras.initializers.Constant(1.0 - 1.0 / self.tau),
            name="leak",
            autocast=False,
        )
        self.built = True

    def decay_and_threshold(self, dtype: str) -> tuple[Tensor, float]:
        """The mean decay of each neuron over the steps, and the threshold."""
        leaks, threshold = self._constants(self._learnt(dtype))
        return ops.mean(leaks, axis=0), threshold

    def learnt_constants(self) -> dict[str, Array]:
        """The decays."""
        return {"decay": ops.convert_to_numpy(self.leak)}

    def _learnt(self, dtype: str) -> tuple[Tensor, ...]:
        return (ops.reshape(ops.cast(self.leak, dtype), (self.timesteps, *self._shape)),)

    def steps(
        self,
        currents: Tensor,
        fire: Callable[[Tensor], Tensor] | None = None,
        constants: tuple | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """As in `LIF`; the first of `constants` holds the decays of all steps, `(T, ...)`."""
        leaks, threshold = constants or self._constants(self._learnt(currents.dtype))
        membrane = None
        for leak, current in zip(ops.unstack(leaks), ops.unstack(currents)):
            membrane, distance, fired = self._step(
                membrane, current, fire or self.fire, (leak, threshold)
            )
            yield distance, fired
