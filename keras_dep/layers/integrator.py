"""A leaky integrator as a readout."""

from typing import Any

from keras import ops

from keras_dep import _backend
from keras_dep._internal.export import export
from keras_dep._internal.types import Record
from keras_dep._internal.types import Shape
from keras_dep._internal.types import Tensor
from keras_dep.layers import time_axis
from keras_dep.layers.lif import check_tau


@export
class Integrator(time_axis.Timewise):
    """Membrane potentials of leaky neurons without threshold, as a readout.

    `v_t = (1 - 1/tau) v_{t-1} + x_t` with `v_0 = 0`; it returns the potential of every step. With
    `tau=math.inf` the last one is the sum of all inputs. The membrane is kept in float32 under half
    precision.

    Args:
        timesteps: number of steps `T` folded into the batch axis, at least 1.
        tau: membrane time constant in steps, at least 1; infinite without leak.
        **kwargs: `name` and `dtype`, as in `keras.layers.Layer`.

    Call arguments:
        inputs: currents `(timesteps * batch, ...)`, time-major.

    Output shape:
        Potentials like the inputs.

    Raises:
        ValueError: an argument outside its limits.

    Source: Bellec et al. 2020 (leaky readouts).

    Example:

    >>> potentials = Integrator(timesteps=3)(ops.ones((3, 1)))
    >>> ops.convert_to_numpy(potentials).ravel().tolist()
    [1.0, 2.0, 3.0]
    """

    def __init__(self, timesteps: int, tau: float = float("inf"), **kwargs: Any) -> None:
        super().__init__(timesteps, **kwargs)
        check_tau(tau)
        self.tau = tau

    def call(self, inputs: Tensor) -> Tensor:
        dtype = "float64" if self.compute_dtype == "float64" else "float32"
        currents = time_axis.unfold(ops.cast(inputs, dtype), self.timesteps)

        def step(membrane, current):
            membrane = (1.0 - 1.0 / self.tau) * membrane + current
            return membrane, membrane

        carry = self.carry or time_axis.Carry()
        start = ops.zeros_like(currents[0]) if carry.start is None else carry.start
        potentials = _backend.over_steps(step, start, currents)
        carry.last = ops.stop_gradient(potentials[-1])
        return ops.cast(time_axis.fold(potentials), self.compute_dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return tuple(input_shape)

    def get_config(self) -> Record:
        return {**super().get_config(), "tau": self.tau}
