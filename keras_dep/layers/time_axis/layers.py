"""Weightless layers that fold, unfold or share time."""

from typing import Any

import keras
from keras import ops

from keras_dep._internal.export import export
from keras_dep._internal.types import Record
from keras_dep._internal.types import Shape
from keras_dep._internal.types import Tensor
from keras_dep.layers.time_axis import graph
from keras_dep.layers.time_axis import layout
from keras_dep.layers.time_axis.carry import Carry


class Timewise(graph.Timed, keras.layers.Layer):
    """Base class of weightless layers with time folded into the batch.

    Args:
        timesteps: number of steps `T`.
        **kwargs: `name` and `dtype`, as in `keras.layers.Layer`.

    Raises:
        ValueError: `timesteps` is not an integer of at least 1.
    """

    def __init__(self, timesteps: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        layout.check_timesteps(timesteps)
        self.timesteps = timesteps
        self.built = True

    def get_config(self) -> Record:
        return {**super().get_config(), "timesteps": self.timesteps}


@export(formerly="Steps")
class UnfoldTime(Timewise):
    """Unfolds time at the end of a network: `(T * batch, ...)` to `(batch, T, ...)`.

    Args:
        timesteps: number of steps `T` folded into the batch axis.
        **kwargs: `name` and `dtype`, as in `keras.layers.Layer`.

    Raises:
        ValueError: `timesteps` is not an integer of at least 1, or not the number of steps in the
            batch.

    Example:

    >>> UnfoldTime(timesteps=4)(ops.ones((32, 10))).shape
    (8, 4, 10)
    """

    unfolds = True

    def call(self, inputs: Tensor) -> Tensor:
        return ops.swapaxes(layout.unfold(inputs, self.timesteps), 0, 1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch = None if input_shape[0] is None else input_shape[0] // self.timesteps
        return (batch, self.timesteps, *input_shape[1:])


@export(formerly="Frames")
class FoldTime(Timewise):
    """Folds time at the start of a network: `(batch, T, ...)` to `(T * batch, ...)`.

    Args:
        timesteps: number of steps `T` of the sequence.
        **kwargs: `name` and `dtype`, as in `keras.layers.Layer`.

    Raises:
        ValueError: `timesteps` is not an integer of at least 1, or not the number of frames.

    Example:

    >>> FoldTime(timesteps=4)(ops.ones((8, 4, 10))).shape
    (32, 10)
    """

    folds = True

    def call(self, inputs: Tensor) -> Tensor:
        self._check_frames(inputs.shape)
        return layout.fold(ops.swapaxes(inputs, 0, 1))

    def _check_frames(self, shape: Shape) -> None:
        if len(shape) < 2 or shape[1] not in (None, self.timesteps):
            raise ValueError(
                f"inputs must be (batch, timesteps={self.timesteps}, ...); received shape "
                f"{tuple(shape)}; an image without time goes through keras_dep.DirectEncoding."
            )

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        self._check_frames(input_shape)
        batch = None if input_shape[0] is None else input_shape[0] * self.timesteps
        return (batch, *input_shape[2:])


@export
class Folded(Timewise):
    """Declares that the inputs of a network already hold the steps; returns them unchanged.

    Without it a network whose inputs are `(T * batch, ...)`, time-major, is refused, because it
    looks like one without an encoder. Layers called alone and models inside others do not need it.

    Args:
        timesteps: number of steps `T` folded into the batch axis.
        **kwargs: `name` and `dtype`, as in `keras.layers.Layer`.

    Raises:
        ValueError: `timesteps` is not an integer of at least 1.

    Example:

    >>> Folded(timesteps=4)(ops.ones((32, 10))).shape
    (32, 10)
    """

    declares = True

    def call(self, inputs: Tensor) -> Tensor:
        return inputs

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return tuple(input_shape)


@export
class TimeSharedDropout(Timewise):
    """Dropout with one mask per sample, the same at every step.

    Args:
        rate: fraction of units dropped, in [0, 1).
        timesteps: number of steps `T` folded into the batch axis.
        seed: seed of the masks, or `None` for Keras' global one.
        **kwargs: `name` and `dtype`, as in `keras.layers.Layer`.

    Raises:
        ValueError: a rate outside [0, 1), or `timesteps` below 1.

    Example:

    >>> TimeSharedDropout(0.5, timesteps=4)(ops.ones((32, 10)), training=False).shape
    (32, 10)
    """

    def __init__(self, rate: float, timesteps: int, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(timesteps, **kwargs)
        if not 0 <= rate < 1:
            raise ValueError(f"rate must lie in [0, 1); received {rate}; 0 drops nothing.")
        self.rate = rate
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs: Tensor, training: bool | None = False) -> Tensor:
        if not training or not self.rate:
            return inputs
        steps = layout.unfold(inputs, self.timesteps)
        carry = self.carry or Carry()
        mask = self._mask(steps) if carry.start is None else carry.start
        carry.last = mask
        return layout.fold(steps * mask)

    def _mask(self, steps: Tensor) -> Tensor:
        # Without a noise shape torch draws from its global generator, which is not saved.
        return keras.random.dropout(
            ops.ones_like(steps[0]),
            rate=self.rate,
            noise_shape=ops.shape(steps[0]),
            seed=self.seed_generator,
        )

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return tuple(input_shape)

    def get_config(self) -> Record:
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}
