"""LIF neurons whose threshold follows the distance of the membrane to a reference trajectory."""

import math
from collections.abc import Callable
from collections.abc import Iterator

import keras
from keras import ops

from keras_dep._internal.export import export
from keras_dep._internal.types import Array
from keras_dep._internal.types import Tensor
from keras_dep.layers.stepwise_lif import StepwiseLIF


@export
class ThresholdAdaptingLIF(StepwiseLIF):
    """`LIF` with a threshold that rises where the membrane exceeds its signature, and falls below.

        u_t = (1 - 1/tau) v_{t-1} + x_t
        V_t = V_{t-1} + theta (u_t - signature_t),   V_0 = threshold
        s_t = 1 where u_t >= V_t, else 0

    The signature is the mean potential ahead of the reset of the same neuron in a trained network
    of plain `LIF`, see `keras_dep.profiling.membrane_signature`; it is 0 until `set_signature`.
    `theta` is learnt per neuron and not negative. Both are vectors, which `DEP` leaves alone.

    The gradient passes through the threshold, also that of an attack. The published backward pass
    leaves that path and the one through the membrane out, and multiplies the gradient of `theta` by
    0.1: a sign of obfuscation that is not reproduced here. The source also filters spikes by a
    synapse of 3 steps, which `LIF` does not.

    Args:
        timesteps: number of steps `T` folded into the batch axis, at least 1.
        tau: as in `LIF`; published as 5, the default here; or
        threshold: as in `LIF`, ahead of the first step.
        reset: as in `LIF`; published as `"hard"`, the default here.
        decay: the share that the membrane keeps, in place of `tau`.
        theta: start of `theta`, not negative; published as 1/5, for MNIST as 1/1.5.
        **kwargs: the other arguments of `LIF`.

    Call arguments:
        inputs: currents `(timesteps * batch, ...)` of known sizes, time-major.

    Raises:
        ValueError: an argument outside its limits, or sizes that are not known.

    Source: Geng and Li, "HoSNN", arXiv 2308.10373 and TMLR 2025.

    Example:

    >>> layer = ThresholdAdaptingLIF(timesteps=2, tau=1.0, theta=1.0)
    >>> ops.convert_to_numpy(layer(ops.array([[0.8], [2.0]]))).ravel().tolist()
    [0.0, 0.0]
    """

    def __init__(
        self,
        timesteps: int,
        tau: float | None = None,
        threshold: float = 1.0,
        reset: str = "hard",
        decay: float | None = None,
        theta: float = 0.2,
        **kwargs,
    ):
        if tau is None and decay is None:
            tau = 5.0
        super().__init__(timesteps, tau, threshold, reset, decay=decay, **kwargs)
        if not 0 <= theta < math.inf:
            raise ValueError(f"theta must be finite and not negative; received {theta}.")
        self._start = theta
        self.built = False

    def build(self, input_shape):
        self._shape = tuple(input_shape[1:])
        if None in self._shape:
            raise ValueError(
                f"a signature needs known sizes; received inputs of shape {input_shape}; fix the "
                "size of the images."
            )
        size = math.prod(self._shape)
        self.theta = self.add_weight(
            shape=(size,),
            initializer=keras.initializers.Constant(self._start),
            constraint=keras.constraints.NonNeg(),
            name="theta",
            autocast=False,
        )
        self.signature = self.add_weight(
            shape=(self.timesteps * size,),
            initializer="zeros",
            trainable=False,
            name="signature",
            autocast=False,
        )
        self.built = True

    def set_signature(self, signature: Array) -> None:
        """Sets the reference trajectory.

        Args:
            signature: potentials `(T, ...)`, with the sizes of the inputs behind the batch.

        Raises:
            ValueError: another shape.
        """
        wanted = (self.timesteps, *self._shape)
        if tuple(signature.shape) != wanted:
            raise ValueError(
                f"the signature of {self.name} must have the shape {wanted}; received "
                f"{tuple(signature.shape)}; collect it from a network of the same architecture and "
                "timesteps."
            )
        self.signature.assign(ops.reshape(signature, (-1,)))

    def steps(
        self,
        currents: Tensor,
        fire: Callable[[Tensor], Tensor] | None = None,
        constants: tuple | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """As in `LIF`, with thresholds that adapt."""
        fire = fire or self.fire
        decay, threshold = constants or self.decay_and_threshold(currents.dtype)
        theta = ops.reshape(ops.cast(self.theta, currents.dtype), self._shape)
        signature = ops.cast(self.signature, currents.dtype)
        references = ops.unstack(ops.reshape(signature, (self.timesteps, *self._shape)))
        membrane = None
        for reference, current in zip(references, ops.unstack(currents)):
            potential = current if membrane is None else decay * membrane + current
            threshold = threshold + theta * (potential - reference)
            distance = potential - threshold
            fired = fire(distance)
            membrane = self._kept(potential, fired, threshold)
            yield distance, fired

    def get_config(self):
        return {**super().get_config(), "theta": self._start}
