"""Sharpness-aware minimisation: the gradient is taken where the loss is highest nearby."""

import contextlib
import dataclasses
import math
from collections.abc import Sequence

import keras
from keras import ops

from keras_dep import surrogates
from keras_dep._internal.export import export
from keras_dep._internal.types import Record
from keras_dep._internal.types import Tensor
from keras_dep.layers import overrides


@export
@dataclasses.dataclass(frozen=True)
class SharpnessAware:
    """Sharpness-aware minimisation (SAM), for `keras_dep.training.DefendedTraining`.

    A step takes two passes over its batch. With the gradient `g` of the loss at the weights `w`,

        w' = w + rho g / ||g||

    over all trainable weights as one vector, and the optimizer updates `w` with the gradient at
    `w'`. What the optimizer adds, such as weight decay, momentum or DEP's projection, it takes at
    `w`. Both passes draw the same random numbers, such as dropout masks. Metrics and moving
    averages are those of the first pass, at `w`. Where `g` is zero or not finite, `w'` is `w`.

    With `surrogate`, the first pass runs through the surrogate forward: every spiking layer answers
    `keras_dep.surrogates.smooth_step` in place of the step, so that `g` is the true gradient of a
    smooth network. Metrics and moving averages then belong to the second pass, the one that spikes.

    Args:
        rho: length of the step to `w'`, at least 0; 0 is plain training, in one pass.
        surrogate: `None`, or one of `keras_dep.surrogates.smooth_names()`.
        width: its width; default: the usual one.

    Raises:
        ValueError: a `rho` that is negative or not finite, an unknown surrogate, or one without a
            primitive in closed form.

    Source: Foret et al., ICLR 2021 (Eq. 2; `rho` 0.05 for CIFAR-10). The spiking form is named by
    SAST (arXiv 2603.18039), whose code was not available. Open there: whether its first pass
    replaces spikes or their derivative alone, the surrogate, its width, and `rho`. On several
    replicas of TensorFlow's strategies each steps to a `w'` by its own share of the batch, as in
    Foret et al.; on JAX all share one.

    Example:

    >>> network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> from keras_dep.training import DefendedTraining
    >>> model = DefendedTraining(network, sharpness=SharpnessAware(rho=0.1))
    >>> model.compile("sgd", "mse")
    >>> sorted(model.train_on_batch(ops.ones((3, 4)), ops.ones((3, 2)), return_dict=True))
    ['loss']
    """

    rho: float = 0.05
    surrogate: str | None = None
    width: float | None = None

    def __post_init__(self):
        if not 0 <= self.rho < math.inf:
            raise ValueError(
                f"rho must be finite and at least 0; received {self.rho}; 0 trains plainly."
            )
        if self.surrogate is None:
            if self.width is not None:
                raise ValueError(
                    f"width must be None without a surrogate; received {self.width}; name one in "
                    "surrogate."
                )
            return
        if self.width is None:
            object.__setattr__(self, "width", surrogates.usual_width(self.surrogate))
        surrogates.smooth_step(ops.zeros(()), self.surrogate, self.width)

    @property
    def active(self) -> bool:
        """Whether it changes a step."""
        return self.rho > 0

    def offsets(self, gradients: Sequence[Tensor | None]) -> list[Tensor | None]:
        """`rho g / ||g||` for the gradients `g` of one pass, with the norm over all of them.

        Args:
            gradients: tensors of any shapes, or `None`, which stays so.

        Example:

        >>> (offset,) = SharpnessAware(rho=0.5).offsets([ops.array([3.0, 4.0])])
        >>> [round(float(part), 6) for part in offset]
        [0.3, 0.4]
        """
        known = [ops.cast(g, "float32") for g in gradients if g is not None]
        # By the largest entry first: squares of small gradients are zero in single precision.
        largest = ops.max(ops.stack([ops.max(ops.abs(g)) for g in known]))
        usable = ops.logical_and(ops.isfinite(largest), largest > 0)
        largest = ops.where(usable, largest, ops.ones_like(largest))
        squares = sum(ops.sum(ops.square(g / largest)) for g in known)
        factor = self.rho / ops.sqrt(ops.where(usable, squares, ops.ones_like(squares))) / largest
        return [None if g is None else self._offset(g, usable, factor) for g in gradients]

    def _offset(self, gradient, usable, factor):
        length = ops.cast(factor, gradient.dtype)
        return ops.where(usable, gradient * length, ops.zeros_like(gradient))

    def ascent(self, network: keras.Model) -> contextlib.AbstractContextManager[None]:
        """Within the block the network runs as in the first pass of a step.

        Raises:
            ValueError: a surrogate, and a network without layers that derive from `keras_dep.LIF`.
        """
        if self.surrogate is None:
            return contextlib.nullcontext()

        def fire(distance):
            return surrogates.smooth_step(distance, self.surrogate, self.width)

        def smooth(layer, currents):
            return ops.stack([fired for _, fired in layer.steps(currents, fire=fire)])

        return overrides.estimator_in_place(network, smooth)

    def get_config(self) -> Record:
        """The arguments as a dictionary that JSON keeps."""
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config: Record) -> "SharpnessAware":
        """The object that `get_config` describes."""
        return cls(**config)
