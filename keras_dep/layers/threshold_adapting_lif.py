"""LIF neurons whose threshold follows the distance of the membrane to a reference trajectory."""

import math
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_dep._internal.export import export
from keras_dep._internal.types import Array
from keras_dep._internal.types import Record
from keras_dep._internal.types import Shape
from keras_dep._internal.types import Tensor
from keras_dep.layers.base import known_sizes
from keras_dep.layers.stepwise_lif import StepwiseLIF


@export
class ThresholdAdaptingLIF(StepwiseLIF):
    """`LIF` with a threshold that rises where the membrane exceeds its signature, and falls below.

        u_t = (1 - 1/tau) v_{t-1} + x_t
        V_t = V_{t-1} + theta (u_t - signature_t),   V_0 = threshold
        s_t = 1 where u_t >= V_t, else 0

    The signature is the mean potential, before the reset, of the same neuron in a trained network
    of plain `LIF`; see `keras_dep.profiling.membrane_signature`. It is 0 until `set_signature`.
    `theta` is learnt per neuron and not negative. Both are vectors, which `DEP` does not project.

    Gradients, those of attacks included, flow through the adapting threshold and the membrane. The
    published backward pass cuts both paths and multiplies the gradient of `theta` by 0.1;
    `detach_threshold` and `detach_membrane` cut them here. The source also filters spikes by a
    synapse with a time constant of 3 steps, which this layer does not have.

    Args:
        timesteps: number of steps `T` folded into the batch axis, at least 1.
        tau: as in `LIF`; default: the published 5. Alternatively:
        threshold: as in `LIF`, before the first step.
        reset: as in `LIF`; published as `"hard"`, the default here.
        decay: the share that the membrane keeps, `1 - 1/tau`.
        theta: start of `theta`, not negative; published as 1/5, for MNIST as 1/1.5.
        detach_threshold: cut the gradient from the potential to the threshold, as published. It
            hides that path from white-box attacks; `theta` is still learnt.
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

    CONSTANTS = (*StepwiseLIF.CONSTANTS, "detach_threshold")
    weights_per_step = True

    def __init__(
        self,
        timesteps: int,
        tau: float | None = None,
        threshold: float = 1.0,
        reset: str = "hard",
        decay: float | None = None,
        theta: float = 0.2,
        detach_threshold: bool = False,
        **kwargs: Any,
    ) -> None:
        if tau is None and decay is None:
            tau = 5.0
        super().__init__(timesteps, tau, threshold, reset, decay=decay, **kwargs)
        if not 0 <= theta < math.inf:
            raise ValueError(f"theta must be finite and not negative; received {theta}.")
        self._start = theta
        self.detach_threshold = detach_threshold
        self.built = False

    def build(self, input_shape: Shape) -> None:
        self._shape = known_sizes(input_shape, "ThresholdAdaptingLIF")
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

    def decay_and_threshold(self, dtype: str) -> tuple[float, float]:
        """The decay, and the threshold before the first step."""
        decay, threshold, *_ = self._constants(())
        return decay, threshold

    def learnt_constants(self) -> dict[str, Array]:
        """The rates of adaptation."""
        return {"theta": ops.convert_to_numpy(self.theta)}

    def _learnt(self, dtype: str) -> tuple[Tensor, ...]:
        signature = ops.reshape(ops.cast(self.signature, dtype), (self.timesteps, *self._shape))
        return ops.reshape(ops.cast(self.theta, dtype), self._shape), signature

    def _constants(self, learnt: Sequence[Tensor]) -> tuple:
        return (1.0 - 1.0 / self.tau, self.threshold, *learnt)

    def steps(
        self,
        currents: Tensor,
        fire: Callable[[Tensor], Tensor] | None = None,
        constants: tuple | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """As in `LIF`; after decay and threshold `constants` holds `theta` and the signature."""
        constants = constants or self._constants(self._learnt(currents.dtype))
        decay, threshold, theta, signature = constants
        fire, membrane = fire or self.fire, None
        for reference, current in zip(ops.unstack(signature), ops.unstack(currents)):
            potential = current if membrane is None else decay * membrane + current
            seen = ops.stop_gradient(potential) if self.detach_threshold else potential
            threshold = threshold + theta * (seen - reference)
            distance = potential - threshold
            fired = fire(distance)
            membrane = self._kept(potential, fired, threshold)
            yield distance, fired

    def get_config(self) -> Record:
        return {
            **super().get_config(),
            "theta": self._start,
            "detach_threshold": self.detach_threshold,
        }
