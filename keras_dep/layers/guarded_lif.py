"""LIF neurons that keep their potentials away from the threshold, by a penalty and by noise."""

import math
from typing import Any

import keras
from keras import ops

from keras_dep._internal import validation
from keras_dep._internal.export import export
from keras_dep._internal.types import Record
from keras_dep._internal.types import Tensor
from keras_dep.layers.stepwise_lif import StepwiseLIF

NOISE = ("training", "always", "never")


@export
class GuardedLIF(StepwiseLIF):
    """`LIF` with noise on the charge and a hinge on potentials near the threshold.

        u_t = (1 - 1/tau) v_{t-1} + x_t + eta_t,     eta_t normal of deviation sigma
        loss += strength * mean over steps, samples and neurons of max(0, delta - |u_t - V|)

    The weight `strength` is a variable that training does not change; a callback may. The source
    publishes neither `delta` and `sigma` nor whether inference is noisy.

    Args:
        timesteps: number of steps `T` folded into the batch axis, at least 1.
        delta: half-width of the guarded band in units of the potential, not negative.
        sigma: standard deviation of the noise, not negative.
        noise: `"training"`: noise in training only; `"always"`: in inference too; `"never"`.
        strength: weight of the penalty at the start, not negative.
        seed: seed of the noise; default: drawn by Keras.
        **kwargs: the other arguments of `LIF`.

    Call arguments:
        inputs: currents `(timesteps * batch, ...)`, time-major.

    Raises:
        ValueError: an argument outside its limits.

    Source: arXiv 2602.20548 (ICLR 2026), by its description; there is no released code.

    Example:

    >>> layer = GuardedLIF(timesteps=1, delta=0.5, sigma=0.0, strength=2.0)
    >>> _ = layer(ops.array([[0.9, 3.0]]), training=True)
    >>> round(float(layer.losses[0]), 4)
    0.4
    """

    CONSTANTS = (*StepwiseLIF.CONSTANTS, "delta", "sigma", "noise")

    def __init__(
        self,
        timesteps: int,
        delta: float = 0.3,
        sigma: float = 0.2,
        noise: str = "training",
        strength: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(timesteps, **kwargs)
        limits = {"delta": delta, "sigma": sigma, "strength": strength}
        for name, value in limits.items():
            if not 0 <= value < math.inf:
                raise ValueError(f"{name} must be finite and not negative; received {value}.")
        self.delta = delta
        self.sigma = sigma
        self.noise = validation.one_of("noise", noise, NOISE)
        self.seed = seed
        self._start = strength
        self.strength = _strength(self, strength)
        self._generator = keras.random.SeedGenerator(seed)

    @property
    def draws(self) -> bool:
        """Whether there is noise in inference."""
        return self.noise == "always" and self.sigma > 0

    def _currents(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        # Not in `steps`: what is computed again must see the same noise.
        currents = super()._currents(inputs)
        if not (self.draws or (training and self.noise == "training" and self.sigma > 0)):
            return currents
        noise = keras.random.normal(ops.shape(currents), dtype="float32", seed=self._generator)
        return currents + ops.cast(self.sigma * noise, currents.dtype)

    def penalty(self, distances: Tensor) -> Tensor:
        """The weighted hinge.

        Args:
            distances: potentials minus threshold before the reset, `(T, batch, ...)`.
        """
        return self.strength * ops.mean(ops.relu(self.delta - ops.abs(distances)))

    def get_config(self) -> Record:
        return {
            **super().get_config(),
            "delta": self.delta,
            "sigma": self.sigma,
            "noise": self.noise,
            "strength": self._start,
            "seed": self.seed,
        }


@export
class SupportPenaltyLIF(StepwiseLIF):
    """`LIF` with a penalty on the share of potentials inside the support of the surrogate.

    The distance `x = u_t - V` before the reset is taken as normally distributed, with its mean and
    deviation over samples and positions, per channel and step. The penalty is the mean over
    channels and steps of

        Phi((g - mean) / deviation) - Phi((-g - mean) / deviation)

    where `g` is the half-width of the support: `width` of the triangle, half of it of the
    rectangle. Surrogates of unbounded support take `width`. The weight `strength` is a variable
    that training does not change. The source does not publish it. Mean and deviation are those of
    a replica's part of the batch, as in batch normalisation, except on JAX.

    Args:
        timesteps: number of steps `T` folded into the batch axis, at least 1.
        strength: weight of the penalty at the start, not negative.
        axis: the channels' axis, counted with the batch axis: -1, or 1 for channels first;
            default: that of Keras' data format.
        **kwargs: the other arguments of `LIF`.

    Call arguments:
        inputs: currents `(timesteps * batch, ...)`, time-major.

    Raises:
        ValueError: an argument outside its limits.

    Source: "MPD-SGR", AAAI 2026 (arXiv 2511.12199); there is no released code.

    Example:

    >>> layer = SupportPenaltyLIF(timesteps=1, threshold=1.0, strength=1.0)
    >>> _ = layer(ops.array([[0.0], [2.0]]), training=True)
    >>> round(float(layer.losses[0]), 3)
    0.683
    """

    def __init__(
        self, timesteps: int, strength: float = 0.0, axis: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(timesteps, **kwargs)
        if not 0 <= strength < math.inf:
            raise ValueError(f"strength must be finite and not negative; received {strength}.")
        if axis is None:
            axis = 1 if keras.config.image_data_format() == "channels_first" else -1
        self.axis = axis
        self._start = strength
        self.strength = _strength(self, strength)

    def penalty(self, distances: Tensor) -> Tensor:
        """The weighted share.

        Args:
            distances: potentials minus threshold before the reset, `(T, batch, ...)`.
        """
        rank = len(distances.shape)
        channels = self.axis % (rank - 1) + 1
        others = [axis for axis in range(1, rank) if axis != channels]
        mean = ops.mean(distances, axis=others)
        deviation = ops.sqrt(ops.var(distances, axis=others) + 1e-6)
        half = self.width / 2 if self.surrogate == "rectangle" else self.width
        share = _normal((half - mean) / deviation) - _normal((-half - mean) / deviation)
        return self.strength * ops.mean(share)

    def get_config(self) -> Record:
        return {**super().get_config(), "strength": self._start, "axis": self.axis}


def _strength(layer: keras.layers.Layer, value: float) -> keras.Variable:
    return layer.add_weight(
        shape=(),
        initializer=keras.initializers.Constant(value),
        trainable=False,
        name="strength",
        autocast=False,
    )


def _normal(x: Tensor) -> Tensor:
    """The distribution function of a standard normal variable."""
    return 0.5 * (1.0 + ops.erf(x / math.sqrt(2.0)))
