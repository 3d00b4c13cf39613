"""Encoders from an image to `timesteps` inputs."""

from contextlib import AbstractContextManager
from typing import Any

import keras
from keras import ops

from keras_dep import surrogates
from keras_dep._internal import keras_internals
from keras_dep._internal import validation
from keras_dep._internal.export import export
from keras_dep._internal.types import Record
from keras_dep._internal.types import Shape
from keras_dep._internal.types import Tensor
from keras_dep.layers import overrides
from keras_dep.layers import time_axis

# At a mean of 1 more spikes have probability 8e-10, below the spacing of float32 draws.
MOST_SPIKES = 11


@export
class DirectEncoding(time_axis.Timewise):
    """Repeats its input at every step: `(batch, ...)` to `(T * batch, ...)`, time-major.

    After the first convolution and normalisation it gives the same network as before them, at `1/T`
    of their cost.

    Args:
        timesteps: number of steps `T`.
        **kwargs: `name` and `dtype`, as in `keras.layers.Layer`.

    Raises:
        ValueError: `timesteps` is not an integer of at least 1.

    Example:

    >>> DirectEncoding(timesteps=4)(ops.ones((8, 32, 32, 3))).shape
    (32, 32, 32, 3)
    """

    folds = True
    # False while the inputs already hold every step, as in `keras_dep.models.with_frames`.
    repeats = True

    def call(self, inputs: Tensor) -> Tensor:
        if not self.repeats:
            return inputs
        return ops.tile(inputs, (self.timesteps,) + (1,) * (len(inputs.shape) - 1))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch = None if input_shape[0] is None else input_shape[0] * self.timesteps
        return (batch, *input_shape[1:])


@export
class RateEncoding(time_axis.Timewise):
    """Random spikes at the rate of the pixel: `(batch, ...)` to `(T * batch, ...)`.

    Random in training and in inference. The gradient of a spike with respect to its pixel is 1
    (straight-through), so that the sampling does not hide the gradient from white-box attacks.

    Args:
        timesteps: number of steps `T`.
        seed: seed of the draws, or `None` for Keras' global one.
        law: `"bernoulli"`: 0 or 1 spike per step, with the pixel as probability; many libraries
            call this Poisson. `"poisson"`: a number of spikes per step with the pixel as mean.
        **kwargs: `name` and `dtype`, as in `keras.layers.Layer`.

    Call arguments:
        inputs: pixels in [0, 1]; finite values outside act as the nearer bound, others give NaN.

    Raises:
        ValueError: `timesteps` is not an integer of at least 1; an unknown law.

    Example:

    >>> spikes = RateEncoding(timesteps=100, seed=0)(ops.full((1, 1), 0.3))
    >>> 0.1 < float(ops.mean(spikes)) < 0.5
    True
    """

    folds = True
    emits_spikes = True

    def __init__(
        self, timesteps: int, seed: int | None = None, law: str = "bernoulli", **kwargs: Any
    ) -> None:
        super().__init__(timesteps, **kwargs)
        self.seed = seed
        self.law = validation.one_of("law", law, LAWS)
        self.seed_generator = keras.random.SeedGenerator(seed)

    @property
    def draws(self) -> bool:
        """Always true."""
        return True

    def call(self, inputs: Tensor) -> Tensor:
        rates = ops.cast(inputs, self.compute_dtype)
        rates = ops.tile(rates, (self.timesteps,) + (1,) * (len(inputs.shape) - 1))
        draws = keras.random.uniform(ops.shape(rates), dtype="float32", seed=self.seed_generator)
        spikes = LAWS[self.law](draws, ops.cast(rates, "float32"))
        spikes = ops.cast(spikes, rates.dtype)
        return spikes + (rates - ops.stop_gradient(rates)) + surrogates.undefined(rates)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch = None if input_shape[0] is None else input_shape[0] * self.timesteps
        return (batch, *input_shape[1:])

    def get_config(self) -> Record:
        return {**super().get_config(), "seed": self.seed, "law": self.law}


def _bernoulli(draws: Tensor, rates: Tensor) -> Tensor:
    return draws < rates


def _poisson(draws: Tensor, rates: Tensor) -> Tensor:
    """The inverse of the distribution function at uniform draws."""
    rates = ops.clip(rates, 0.0, 1.0)
    term = reached = ops.exp(-rates)
    counts = ops.zeros_like(rates)
    for count in range(1, MOST_SPIKES + 1):
        counts = counts + ops.cast(draws >= reached, "float32")
        term = term * rates / count
        reached = reached + term
    return counts


LAWS = {"bernoulli": _bernoulli, "poisson": _poisson}


@export
class LatencyEncoding(time_axis.Timewise):
    """One spike per pixel, the brighter the earlier: `(batch, ...)` to `(T * batch, ...)`.

    A pixel `x` spikes at step `round((T - 1) (1 - x))`, counted from 0: white first, black last.
    The derivative is that of a spike shared linearly by the two steps around the unrounded one, so
    that the rounding does not hide the gradient from white-box attacks.

    Args:
        timesteps: number of steps `T`.
        **kwargs: `name` and `dtype`, as in `keras.layers.Layer`.

    Call arguments:
        inputs: pixels in [0, 1]; finite values outside act as the nearer bound, others give NaN.

    Raises:
        ValueError: `timesteps` is not an integer of at least 1.

    Example:

    >>> ops.convert_to_numpy(LatencyEncoding(timesteps=3)(ops.array([[1.0, 0.5, 0.0]]))).tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """

    folds = True
    emits_spikes = True

    def call(self, inputs: Tensor) -> Tensor:
        inputs = ops.cast(inputs, self.compute_dtype)
        steps = ops.arange(self.timesteps, dtype=inputs.dtype)
        steps = ops.reshape(steps, (-1,) + (1,) * len(inputs.shape))
        times = (self.timesteps - 1) * (1.0 - ops.clip(inputs, 0.0, 1.0))
        spikes = ops.cast(steps == ops.round(times), inputs.dtype)
        earlier = ops.minimum(ops.floor(times), max(self.timesteps - 2, 0))
        gains, loses = (ops.cast(steps == earlier + k, inputs.dtype) for k in (0, 1))
        slope = ops.stop_gradient((self.timesteps - 1) * (gains - loses))
        spikes = spikes + slope * (inputs - ops.stop_gradient(inputs))
        spikes = spikes + surrogates.undefined(inputs)
        return time_axis.fold(spikes)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch = None if input_shape[0] is None else input_shape[0] * self.timesteps
        return (batch, *input_shape[1:])


def direct_encodings(model: keras.Model) -> list[DirectEncoding]:
    """The `DirectEncoding` layers of a model, at any depth."""
    layers = keras_internals.all_layers(model)
    return [layer for layer in layers if isinstance(layer, DirectEncoding)]


def frames_in_place(model: keras.Model) -> AbstractContextManager[None]:
    """Within the block, direct encodings take inputs of all steps, `(T * batch, ...)`."""
    return overrides.attributes(direct_encodings(model), repeats=False)
