"""Leaky integrate-and-fire neurons that learn their time constants and thresholds."""

import math

import keras
import numpy as np
from keras import ops

from keras_dep._internal.export import export
from keras_dep.layers.lif import LIF
from keras_dep.layers.lif import time_constant

SHARING = ("layer", "channel", "neuron")


@export
class PLIF(LIF):
    """`LIF` with a learnt membrane time constant and, on request, a learnt threshold.

    The weights are `w` with `1/tau = sigmoid(w)`, so that `tau` stays above 1, and `log V`, so that
    the threshold stays positive; `trainable = False` keeps them as they are set. They are vectors
    whatever they are shared by, hence nothing that `DEP` would take for a matrix.

    Args:
        timesteps: number of steps `T` folded into the batch axis, at least 1.
        tau: membrane time constant at the start, above 1 and finite; default 2; or
        decay: in its place the share kept from step to step at the start.
        threshold: firing threshold, at the start if it is learnt.
        shared_by: `"layer"`: one value for all neurons; `"channel"`: one for each index of `axis`;
            `"neuron"`: one for each.
        learn_threshold: whether the threshold is a weight too.
        axis: the channels' axis, counted with the batch axis: -1, or 1 for channels first.
        **kwargs: the other arguments of `LIF`.

    Call arguments:
        inputs: currents `(timesteps * batch, ...)`, time-major.

    Output shape:
        Spikes like the inputs, each 0 or 1.

    Raises:
        ValueError: an argument outside its limits; unknown sizes that the weights need.

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
        timesteps,
        tau=None,
        threshold=1.0,
        shared_by="layer",
        learn_threshold=False,
        axis=-1,
        decay=None,
        **kwargs,
    ):
        tau = time_constant(tau, decay, default=2.0)
        super().__init__(timesteps, tau, threshold, **kwargs)
        if not 1 < tau < math.inf:
            raise ValueError(
                f"tau must be above 1 and finite to be learnt; received {tau}; use LIF for a fixed "
                "one."
            )
        if shared_by not in SHARING:
            raise ValueError(
                f"shared_by must be one of {', '.join(SHARING)}; received {shared_by!r}."
            )
        self.shared_by = shared_by
        self.learn_threshold = learn_threshold
        self.axis = axis
        self.built = False

    def build(self, input_shape):
        self._shape = self._weight_shape(tuple(input_shape))
        size = (math.prod(self._shape),)
        start = keras.initializers.Constant(-math.log(self.tau - 1))
        # Half precision would round the constants of a membrane that it does not round.
        options = {"shape": size, "autocast": False}
        self.leak = self.add_weight(initializer=start, name="leak", **options)
        if self.learn_threshold:
            start = keras.initializers.Constant(math.log(self.threshold))
            self.log_threshold = self.add_weight(initializer=start, name="log_threshold", **options)
        self.built = True

    def _weight_shape(self, input_shape):
        rank = len(input_shape)
        if self.shared_by == "layer":
            return (1,) * (rank - 1)
        if not -rank <= self.axis < rank or self.axis % rank == 0:
            raise ValueError(
                f"axis must name an axis of the inputs behind the batch; received {self.axis} for "
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
        return shape

    def _learnt(self, dtype):
        leak = ops.reshape(ops.cast(self.leak, dtype), self._shape)
        decay = ops.sigmoid(-leak)
        if not self.learn_threshold:
            return (decay,)
        return decay, ops.exp(ops.reshape(ops.cast(self.log_threshold, dtype), self._shape))

    def time_constants(self):
        """Membrane time constants in steps as they are now, a NumPy array that fits the inputs."""
        leak = ops.convert_to_numpy(ops.reshape(self.leak, self._shape)).astype("float64")
        constants = 1 + np.exp(-leak)
        return constants[(0,) * constants.ndim] if self.shared_by == "layer" else constants

    def get_config(self):
        return {
            **super().get_config(),
            "shared_by": self.shared_by,
            "learn_threshold": self.learn_threshold,
            "axis": self.axis,
        }
