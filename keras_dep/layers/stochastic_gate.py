"""Random gates on spikes, with learnt probabilities of opening."""

import math
from typing import Any

import keras
from keras import ops

from keras_dep._internal import validation
from keras_dep._internal.export import export
from keras_dep._internal.types import Array
from keras_dep._internal.types import Record
from keras_dep._internal.types import Shape
from keras_dep._internal.types import Tensor
from keras_dep.layers import time_axis
from keras_dep.layers.base import known_sizes

LOWEST, OFFSET, TEMPERATURE = 0.1, 1e-3, 0.5
NORMS, GRADIENTS = ("l2", "l1"), ("relaxed", "released")


@export
class StochasticGate(time_axis.Timed, keras.layers.Layer):
    """Passes each spike with a learnt probability, in training and in inference.

    With `p` the weight `opening` of a neuron, clipped to [0.1, 1], and `u` uniform in [0, 1], drawn
    for every step, sample and neuron:

        a = p / (1 - p + 0.001),   L = u / (1 - u + 0.001)
        gate = 1 where -log L <= log a, else 0
        gradient: that of sigmoid((log a + log L) / 0.5)

    Openings start at 1. There a gate opens with probability 0.999, and the clipping stops the
    gradient: at first only the prior `gamma * sum(opening^2) / 2`, added to the loss in training,
    moves them.

    Args:
        timesteps: number of steps `T` folded into the batch axis, at least 1.
        gamma: weight of the prior, not negative.
        norm: `"l2"`, or `"l1"` for `gamma * sum(|opening|)`.
        gradient: `"relaxed"`: the gradient above; `"released"`: that of the released code, with the
            opposite sign, and the mean over steps and samples in place of the sum.
        bypass: pass all spikes. An attack on the network then ignores the gates, so leave it off
            for white-box evaluations.
        seed: seed of the draws; default: drawn by Keras.
        **kwargs: `name` and `dtype`, as in `keras.layers.Layer`.

    Call arguments:
        inputs: spikes `(timesteps * batch, ...)` of known sizes, time-major.

    Raises:
        ValueError: an argument outside its limits, or sizes that are not known.

    Source: Ding et al., "Enhancing the Robustness of SNNs with Stochastic Gating", AAAI 2024, and
    its released code.

    Example:

    >>> gate = StochasticGate(timesteps=1, seed=0)
    >>> gate.build((None, 1000))
    >>> _ = gate.opening.assign(0.5 * ops.ones(1000))
    >>> 0.4 < float(ops.mean(gate(ops.ones((1, 1000))))) < 0.6
    True
    """

    emits_spikes = True
    CONSTANTS = ("gradient", "bypass")

    def __init__(
        self,
        timesteps: int,
        gamma: float = 5e-6,
        norm: str = "l2",
        gradient: str = "relaxed",
        bypass: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        time_axis.check_timesteps(timesteps)
        if not 0 <= gamma < math.inf:
            raise ValueError(f"gamma must be finite and not negative; received {gamma}.")
        self.timesteps = timesteps
        self.gamma = gamma
        self.norm = validation.one_of("norm", norm, NORMS)
        self.gradient = validation.one_of("gradient", gradient, GRADIENTS)
        self.bypass = bypass
        self.seed = seed
        self.supports_masking = True
        self._generator = keras.random.SeedGenerator(seed)

    @property
    def draws(self) -> bool:
        """Whether the gates are random, which `bypass` ends."""
        return not self.bypass

    def build(self, input_shape: Shape) -> None:
        self._shape = known_sizes(input_shape, "StochasticGate")
        options = {"shape": (math.prod(self._shape),), "initializer": "ones", "autocast": False}
        self.opening = self.add_weight(name="opening", **options)
        # A copy that counts after `freeze`: momentum would still move the trainable weight.
        self.frozen = self.add_weight(name="frozen_opening", trainable=False, **options)
        self.is_frozen = self.add_weight(
            shape=(), initializer="zeros", trainable=False, name="is_frozen", autocast=False
        )
        self.built = True

    def freeze(self) -> None:
        """Keeps the openings at their present values from now on, also after loading."""
        if not float(ops.convert_to_numpy(self.is_frozen)):
            # A copy: a compiled step on JAX must not get one buffer twice.
            self.frozen.assign(ops.convert_to_numpy(self.opening))
            self.is_frozen.assign(1.0)

    def learnt_constants(self) -> dict[str, Array]:
        """The openings in force, clipped."""
        opening = ops.clip(self._opening(), LOWEST, 1.0)
        return {"opening": ops.convert_to_numpy(opening)}

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        if self.bypass:
            return inputs
        opening = self._opening()
        if training and self.gamma:
            norm = ops.square(opening) / 2 if self.norm == "l2" else ops.abs(opening)
            self.add_loss(self.gamma * ops.sum(norm))
        gates = self._gates(ops.reshape(opening, self._shape), ops.shape(inputs))
        return inputs * ops.cast(gates, inputs.dtype)

    def _opening(self) -> Tensor:
        weights = (self.is_frozen, self.frozen, self.opening)
        is_frozen, frozen, opening = map(ops.convert_to_tensor, weights)
        return ops.where(is_frozen > 0, frozen, opening)

    def _gates(self, opening: Tensor, shape: tuple) -> Tensor:
        inside = ops.logical_and(opening > LOWEST, opening < 1.0)
        p = ops.where(inside, opening, ops.stop_gradient(ops.clip(opening, LOWEST, 1.0)))
        if self.gradient == "released":
            kept = ops.stop_gradient(p)
            p = kept - (p - kept) / ops.cast(shape[0], p.dtype)
        u = keras.random.uniform(shape, 1e-6, 1 - 1e-6, dtype="float32", seed=self._generator)
        log_a = ops.log(p / (1.0 - p + OFFSET))
        log_l = ops.log(u / (1.0 - u + OFFSET))
        relaxed = ops.sigmoid((log_a + log_l) / TEMPERATURE)
        gate = ops.cast(-log_l <= log_a, relaxed.dtype)
        return ops.stop_gradient(gate) + (relaxed - ops.stop_gradient(relaxed))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return tuple(input_shape)

    def get_config(self) -> Record:
        return {
            **super().get_config(),
            "timesteps": self.timesteps,
            "gamma": self.gamma,
            "norm": self.norm,
            "gradient": self.gradient,
            "bypass": self.bypass,
            "seed": self.seed,
        }
