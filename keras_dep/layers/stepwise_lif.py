"""The base of LIF neurons whose steps differ, or whose potentials a penalty is taken of."""

from collections.abc import Callable
from collections.abc import Iterator

from keras import ops

from keras_dep._internal.types import Tensor
from keras_dep.layers import time_axis
from keras_dep.layers.lif import LIF


class StepwiseLIF(LIF):
    """`LIF` that runs `steps` one by one, which a subclass overrides.

    The derivative is that of the program, without the kernels written out for `LIF`. A subclass may
    also override `penalty`, a term of the training loss.

    Args:
        timesteps: number of steps `T` folded into the batch axis, at least 1.
        **kwargs: the other arguments of `LIF`.

    Example:

    >>> class Growing(StepwiseLIF):
    ...     def steps(self, currents, fire=None, constants=None):
    ...         currents = ops.stack([t * x for t, x in enumerate(ops.unstack(currents))])
    ...         return super().steps(currents, fire, constants)
    >>> ops.convert_to_numpy(Growing(3, tau=1.0)(ops.full((3, 1), 0.5))).ravel().tolist()
    [0.0, 0.0, 1.0]
    """

    def penalty(self, distances: Tensor) -> Tensor | None:
        """A scalar that is added to the loss in training, or `None`.

        Args:
            distances: potentials minus threshold ahead of the reset, `(T, batch, ...)`.
        """
        return None

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        currents = self._currents(inputs)
        if self.estimator is not None:
            spikes = self.estimator(self, currents)
        else:
            distances, fired = zip(*self.steps(currents))
            spikes = ops.stack(fired)
            if training and (penalty := self.penalty(ops.stack(distances))) is not None:
                self.add_loss(penalty)
        return ops.cast(time_axis.fold(spikes), self.compute_dtype)

    def steps(
        self,
        currents: Tensor,
        fire: Callable[[Tensor], Tensor] | None = None,
        constants: tuple | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """As in `LIF`."""
        return super().steps(currents, fire, constants)

    def distances(self, inputs: Tensor) -> Tensor:
        """As in `LIF`."""
        found = [distance for distance, _ in self.steps(self._currents(inputs))]
        return time_axis.fold(ops.stack(found))
