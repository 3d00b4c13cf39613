"""Threat models: what an attacker may change, as frozen values, and the projection onto it."""

import dataclasses

from keras import ops


@dataclasses.dataclass(frozen=True, kw_only=True)
class Threat:
    """An L-infinity ball around each image, cut to the pixel range, and how it is searched.

    Args:
        epsilon: radius in pixel units, in [0, 1]; 8/255 is usual.
        steps: gradient steps, at least 1.
        step_size: step length in pixel units, >= 0; default `epsilon`.
        random_start: start from a uniform draw in the ball instead of the image.
        restarts: independent searches, at least 1; the worst image found is kept.
        bounds: the pixel range `(low, high)`.

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
    bounds: tuple = (0.0, 1.0)

    def __post_init__(self):
        if not 0 <= self.epsilon <= 1:
            raise ValueError(
                f"epsilon must lie in [0, 1] (pixels are in [0, 1]); received {self.epsilon}; "
                "write 8 of 255 grey levels as 8/255."
            )
        if self.steps < 1 or self.restarts < 1:
            raise ValueError(
                "steps and restarts must be at least 1; received "
                f"steps={self.steps}, restarts={self.restarts}."
            )
        if self.restarts > 1 and not self.random_start:
            raise ValueError(
                f"restarts={self.restarts} repeats the same search without random_start=True; "
                "set it, or restarts=1."
            )
        if self.step_size is None:
            object.__setattr__(self, "step_size", self.epsilon)
        if not 0 <= self.step_size <= 1:
            raise ValueError(f"step_size must lie in [0, 1]; received {self.step_size}.")

    def project(self, candidate, image):
        """Nearest point to `candidate` within `epsilon` of `image` and inside the bounds."""
        low, high = self.bounds
        offset = ops.clip(candidate - image, -self.epsilon, self.epsilon)
        return ops.clip(image + offset, low, high)

    def ascend(self, candidate, image, gradient):
        """One signed gradient step followed by the projection; a zero gradient moves nothing."""
        # The sign of NaN differs between backends.
        gradient = ops.where(ops.isfinite(gradient), gradient, ops.zeros_like(gradient))
        return self.project(candidate + self.step_size * ops.sign(gradient), image)
