"""LIF neurons that learn the leak of every neuron at every step."""

import math
from collections.abc import Callable
from collections.abc import Iterator

import keras
from keras import ops

from keras_dep._internal.export import export
from keras_dep._internal.types import Tensor
from keras_dep.layers.stepwise_lif import StepwiseLIF


@export
class EvolutionaryLeakLIF(StepwiseLIF):
    """`LIF` with a learnt decay per neuron and step, `u_t = lambda_t v_{t-1} + x_t`.

    Decays start at `1 - 1/tau`. As published they are free: they may pass 1 or become negative, and
    weight decay acts on them like on any weight. They are kept as one vector, which `DEP` leaves
    alone.

    Args:
        timesteps: number of steps `T` folded into the batch axis, at least 1.
        tau: membrane time constant that decays start from; default: infinite, decays of 1, as
            published.
        threshold: as in `LIF`.
        reset: as in `LIF`; published as `"hard"`, the default here.
        decay: the decay at the start, in place of `tau`.
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
            tau = math.inf
        super().__init__(timesteps, tau, threshold, reset, decay=decay, **kwargs)
        self.built = False

    def build(self, input_shape):
        self._shape = tuple(input_shape[1:])
        if None in self._shape:
            raise ValueError(
                f"leaks per neuron need known sizes; received inputs of shape {input_shape}; fix "
                "the size of the images."
            )
        self.leak = self.add_weight(
            shape=(self.timesteps * math.prod(self._shape),),
            initializer=keras.initializers.Constant(1.0 - 1.0 / self.tau),
            name="leak",
            autocast=False,
        )
        self.built = True

    def steps(
        self,
        currents: Tensor,
        fire: Callable[[Tensor], Tensor] | None = None,
        constants: tuple | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """As in `LIF`; the decay among `constants` is replaced by those learnt."""
        leaks = ops.reshape(ops.cast(self.leak, currents.dtype), (self.timesteps, *self._shape))
        threshold = self.threshold if constants is None else constants[1]
        membrane = None
        for leak, current in zip(ops.unstack(leaks), ops.unstack(currents)):
            membrane, distance, fired = self._step(
                membrane, current, fire or self.fire, (leak, threshold)
            )
            yield distance, fired
