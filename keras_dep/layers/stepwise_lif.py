"""The base of LIF neurons whose steps differ, or whose potentials carry a penalty."""

from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

from keras_dep import surrogates
from keras_dep._internal.types import Tensor
from keras_dep.layers import time_axis
from keras_dep.layers.lif import LIF


class StepwiseLIF(LIF):
    """`LIF` whose `steps` a subclass overrides; they run one after the other, fully unrolled.

    The derivative is the automatic one of `steps`, not the handwritten one of `LIF`. A subclass may
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

    takes_estimator = True

    def penalty(self, distances: Tensor) -> Tensor | None:
        """A scalar added to the loss in training, or `None`.

        Args:
            distances: potentials minus threshold before the reset, `(T, batch, ...)`.
        """
        return None

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        currents = self._currents(inputs, training)
        if self.estimator is not None:
            spikes = self.estimator(self, currents)
        else:
            penalized = bool(training) and type(self).penalty is not StepwiseLIF.penalty
            program = self._stacked(penalized)
            program = keras.remat(program) if self.recompute else program
            spikes, *distances = program(currents, *self._learnt(currents.dtype))
            if penalized and (penalty := self.penalty(*distances)) is not None:
                self.add_loss(penalty)
        return ops.cast(time_axis.fold(spikes), self.compute_dtype)

    def distances(self, inputs: Tensor) -> Tensor:
        """As in `LIF`, in inference."""
        found = [distance for distance, _ in self.steps(self._currents(inputs))]
        return time_axis.fold(ops.stack(found))

    def steps(
        self,
        currents: Tensor,
        fire: Callable[[Tensor], Tensor] | None = None,
        constants: tuple | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """As in `LIF`; `constants` are what `_constants` makes of the learnt ones."""
        return super().steps(currents, fire, constants)

    def _currents(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        return super()._currents(inputs)

    def _stacked(self, with_distances: bool) -> Callable[..., tuple[Tensor, ...]]:
        """The function from currents and learnt constants to spikes and, on demand, distances."""
        # Bind now: what is computed again may be so after an override has ended.
        surrogate, width = self.surrogate, self.width

        def fire(distance: Tensor) -> Tensor:
            return surrogates.spike(distance, surrogate, width)

        def program(currents: Tensor, *learnt: Any) -> tuple[Tensor, ...]:
            distances, fired = zip(*self.steps(currents, fire, self._constants(learnt)))
            return (ops.stack(fired), *([ops.stack(distances)] if with_distances else []))

        return program
