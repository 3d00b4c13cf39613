"""Threat models: the ball that an attack may search, and the projection onto it."""

import dataclasses
import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from keras import ops

from keras_dep._internal import validation
from keras_dep._internal.types import Tensor

Doubles: TypeAlias = npt.NDArray[np.float64]

NORMS = ("Linf", "L2")
# Radii of most published results on 32 x 32 pixels.
USUAL_RADII = {"Linf": 8 / 255, "L2": 0.5}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Threat:
    """A ball around each image, clipped to the pixel range, and the settings of its search.

    Args:
        epsilon: radius in pixel units, in [0, 1]; 8/255 is usual. For `"L2"` that of the whole
            image, at least 0; 0.5 is usual for 32 x 32 pixels.
        steps: gradient steps, at least 1.
        step_size: step length in the units of `epsilon`; default `epsilon`.
        random_start: start at a random point of the ball instead of the image: uniform, for `"L2"`
            in a uniform direction at a uniform distance.
        restarts: independent searches, at least 1; per image the worst result is kept.
        bounds: the pixel range `(low, high)`.
        norm: `"Linf"`, the largest change of a pixel, or `"L2"`, the Euclidean length of the change
            of an image.

    Raises:
        ValueError: a value outside its limits.

    Example:

    >>> Threat(epsilon=8 / 255, steps=7, step_size=0.01, random_start=True).restarts
    1
    """

    epsilon: float
    steps: int = 1
    step_size: float | None = None
    random_start: bool = False
    restarts: int = 1
    bounds: tuple[float, float] = (0.0, 1.0)
    norm: str = "Linf"

    def __post_init__(self) -> None:
        validation.one_of("norm", self.norm, NORMS, "Linf is usual")
        if self.norm == "L2":
            self._check_lengths()
        elif not 0 <= self.epsilon <= 1:
            raise ValueError(
                f"epsilon must lie in [0, 1] (pixels are in [0, 1]); received {self.epsilon}; "
                "write 8 of 255 grey levels as 8/255."
            )
        for name in ("steps", "restarts"):
            validation.whole_number(name, getattr(self, name))
        if self.restarts > 1 and not self.random_start:
            raise ValueError(
                f"restarts={self.restarts} repeats the same search without random_start=True; "
                "set it, or restarts=1."
            )
        if self.step_size is None:
            object.__setattr__(self, "step_size", self.epsilon)
        elif self.norm == "Linf" and not 0 <= self.step_size <= 1:
            raise ValueError(f"step_size must lie in [0, 1]; received {self.step_size}.")

    def _check_lengths(self) -> None:
        for name in ("epsilon", "step_size"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:
                raise ValueError(
                    f'{name} must be at least 0 and finite for norm="L2"; received {value}.'
                )

    def project(self, candidate: Tensor, image: Tensor) -> Tensor:
        """The nearest point to `candidate` in the ball around `image`, clipped to the bounds."""
        offset = candidate - image
        if self.norm == "Linf":
            offset = ops.clip(offset, -self.epsilon, self.epsilon)
        else:
            length = _length(offset)
            outside = length > self.epsilon
            scale = self.epsilon / ops.where(outside, length, ops.ones_like(length))
            offset = ops.where(outside, offset * scale, offset)
        return ops.clip(image + offset, *self.bounds)

    def direction(self, gradient: Tensor) -> Tensor:
        """The direction of steepest ascent, of length 1 in this norm; zero for a zero gradient."""
        if self.norm == "Linf":
            return ops.sign(gradient)
        # Scaled first: squares of tiny surrogate gradients would underflow.
        largest = ops.max(ops.abs(gradient), axis=_pixels(gradient), keepdims=True)
        gradient = gradient / ops.where(largest > 0, largest, ops.ones_like(largest))
        length = _length(gradient)
        return gradient / ops.where(length > 0, length, ops.ones_like(length))

    def ascend(self, candidate: Tensor, image: Tensor, gradient: Tensor) -> Tensor:
        """One step up the gradient, then the projection; non-finite entries count as zero."""
        # The sign of NaN differs between backends.
        gradient = ops.where(ops.isfinite(gradient), gradient, ops.zeros_like(gradient))
        return self.project(candidate + self.step_size * self.direction(gradient), image)

    def inside(self, draw: np.random.Generator, shape: Sequence[int]) -> Doubles:
        """A random offset inside the ball.

        Args:
            draw: a `numpy.random.Generator`.
            shape: shape of an image.

        Returns:
            float64 array of this shape.
        """
        if self.norm == "Linf":
            return self.epsilon * draw.uniform(-1.0, 1.0, shape)
        return self.surface(draw, shape) * draw.uniform()

    def surface(self, draw: np.random.Generator, shape: Sequence[int]) -> Doubles:
        """A random offset on the surface of the ball.

        For `"Linf"` a uniform draw scaled to the surface, for `"L2"` a uniform direction.

        Args:
            draw: a `numpy.random.Generator`.
            shape: shape of an image.

        Returns:
            float64 array of this shape.
        """
        if self.norm == "Linf":
            offset = draw.uniform(-1.0, 1.0, shape)
            return self.epsilon * offset / np.abs(offset).max()
        offset = draw.standard_normal(shape)
        return self.epsilon * offset / np.linalg.norm(offset)


def _pixels(images: Tensor) -> tuple[int, ...]:
    return tuple(range(1, len(images.shape)))


def _length(offset: Tensor) -> Tensor:
    return ops.sqrt(ops.sum(ops.square(offset), axis=_pixels(offset), keepdims=True))
