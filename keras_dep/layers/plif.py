"""Leaky integrate-and-fire neurons that learn their time constants and thresholds."""

import math
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from keras_dep._internal import validation
from keras_dep._internal.export import export
from keras_dep._internal.types import Array
from keras_dep._internal.types import Record
from keras_dep._internal.types import Shape
from keras_dep._internal.types import Tensor
from keras_dep.layers.lif import LIF
from keras_dep.layers.lif import time_constant

SHARING = ("layer", "channel", "neuron")


@export
class PLIF(LIF):
    """`LIF` with a learnt membrane time constant and, optionally, a learnt threshold.

    The weights are `w` with `1/tau = sigmoid(w)`, so that `tau` stays above 1, and `log V`, so that
    the threshold stays positive; `trainable = False` freezes them. They are always vectors, so that
    `DEP` does not treat them as matrices.

    Args:
        timesteps: number of steps `T` folded into the batch axis, at least 1.
        tau: initial membrane time constant, above 1 and finite; default 2. Alternatively:
        decay: the initial share that the membrane keeps, `1 - 1/tau`.
        threshold: firing threshold, the initial one if it is learnt.
        shared_by: `"layer"`: one value for all neurons; `"channel"`: one for each index of `axis`;
            `"neuron"`: one for each.
        learn_threshold: whether the threshold is a weight too.
        axis: the channels' axis, counted with the batch axis: -1, or 1 for channels first.
        reset: `"soft"` or `"hard"`.
        detach_reset: as in `LIF`.
        detach_membrane: as in `LIF`.
        surrogate: as in `LIF`.
        width: as in `LIF`.
        recompute: as in `LIF`.
        **kwargs: `name` and `dtype`, as in `keras.layers.Layer`.

    Call arguments:
        inputs: currents `(timesteps * batch, ...)`, time-major.

    Output shape:
        Spikes like the inputs, each 0 or 1.

    Raises:
        ValueError: an argument outside its limits; an unknown size of an axis that has its own
            weights.

    Source: Fang et al. 2021 (PLIF), without their scaling of the input by `1/tau`.

    Example:

    >>> layer = PLIF(timesteps=4, tau=2.0)
    >>> ops.convert_to_numpy(layer(ops.full((4, 1), 0.6))).ravel().tolist()
    [0.0, 0.0, 1.0, 0.0]
    >>> round(float(layer.time_constants()), 4)
    2.0
    """

    def __init__(
        self,
        timesteps: int,
        tau: float | None = None,
        threshold: float = 1.0,
        shared_by: str = "layer",
        learn_threshold: bool = False,
        axis: int = -1,
        decay: float | None = None,
        reset: str = "soft",
        detach_reset: bool = False,
        detach_membrane: bool = False,
        surrogate: str = "triangle",
        width: float | None = None,
        recompute: bool = False,
        **kwargs: Any,
    ) -> None:
        tau = time_constant(tau, decay, default=2.0)
        super().__init__(
            timesteps,
            tau,
            threshold,
            reset=reset,
            detach_reset=detach_reset,
            detach_membrane=detach_membrane,
            surrogate=surrogate,
            width=width,
            recompute=recompute,
            **kwargs,
        )
        if not 1 < tau < math.inf:
            raise ValueError(
                f"tau must be above 1 and finite to be learnt; received {tau}; use LIF for a fixed "
                "one."
            )
        self.shared_by = validation.one_of("shared_by", shared_by, SHARING)
        self.learn_threshold = learn_threshold
        self.axis = axis
        self.built = False

    def build(self, input_shape: Shape) -> None:
        self._shape = self._weight_shape(tuple(input_shape))
        size = (math.prod(self._shape),)
        start = keras.initializers.Constant(-math.log(self.tau - 1))
        # The membrane is in float32, so its constants are too.
        self.leak = self.add_weight(shape=size, initializer=start, name="leak", autocast=False)
        if self.learn_threshold:
            start = keras.initializers.Constant(math.log(self.threshold))
            self.log_threshold = self.add_weight(
                shape=size, initializer=start, name="log_threshold", autocast=False
            )
        self.built = True

    def _weight_shape(self, input_shape: Shape) -> tuple[int, ...]:
        rank = len(input_shape)
        if self.shared_by == "layer":
            return (1,) * (rank - 1)
        if not -rank <= self.axis < rank or self.axis % rank == 0:
            raise ValueError(
                f"axis must name an axis of the inputs after the batch; received {self.axis} for "
                f"inputs of shape {input_shape}."
            )
        channels = self.axis % rank
        shape = tuple(
            size if self.shared_by == "neuron" or place == channels else 1
            for place, size in enumerate(input_shape)
        )[1:]
        if None in shape:
            raise ValueError(
                f"shared_by={self.shared_by!r} needs known sizes; received inputs of shape "
                f"{input_shape}; share by layer instead, or fix the sizes."
            )
        return tuple(size for size in shape if size is not None)

    def _learnt(self, dtype: str) -> tuple[Tensor, ...]:
        leak = ops.reshape(ops.cast(self.leak, dtype), self._shape)
        decay = ops.sigmoid(-leak)
        if not self.learn_threshold:
            return (decay,)
        return decay, ops.exp(ops.reshape(ops.cast(self.log_threshold, dtype), self._shape))

    def time_constants(self) -> npt.NDArray[np.float64] | np.float64:
        """The current membrane time constants in steps, an array that broadcasts to one step."""
        leak = ops.convert_to_numpy(ops.reshape(self.leak, self._shape)).astype("float64")
        constants = 1 + np.exp(-leak)
        return constants[(0,) * constants.ndim] if self.shared_by == "layer" else constants

    def learnt_constants(self) -> dict[str, Array]:
        """The time constants and the thresholds."""
        _, threshold = self.decay_and_threshold("float32")
        return {
            "tau": np.asarray(self.time_constants()),
            "threshold": ops.convert_to_numpy(threshold),
        }

    def get_config(self) -> Record:
        return {
            **super().get_config(),
            "shared_by": self.shared_by,
            "learn_threshold": self.learn_threshold,
            "axis": self.axis,
        }
