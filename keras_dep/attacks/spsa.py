"""SPSA: ascent along a gradient estimated from outputs."""

from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from keras_dep._internal import validation
from keras_dep._internal.export import export
from keras_dep._internal.types import Record
from keras_dep._internal.types import Tensor
from keras_dep.attacks import losses
from keras_dep.attacks.base import Attack
from keras_dep.attacks.losses import Loss
from keras_dep.attacks.randomness import image_draws
from keras_dep.attacks.threat import Threat
from keras_dep.models import inference


@export
class SPSA(Attack):
    """Ascent along a gradient estimated from outputs, without a derivative.

    Each step takes the loss on both sides of the image along random directions of signs, and sums
    the directions, weighted by the differences. A masked gradient does not stop it.

    Args:
        epsilon: radius of the ball in pixel units; see `keras_dep.attacks.Threat`.
        step_size: length of a step in pixel units.
        steps: number of steps, at least 1.
        directions: random directions per step, two queries each, at least 1.
        spacing: distance from the image along a direction in pixel units, in (0, 1].
        loss: what the attack maximises, a name or a function; see `GradientAttack`.
        seed: seed of the directions.
        targeted: labels name the class to reach.
        norm: `"Linf"` or `"L2"`.

    Raises:
        ValueError: an argument outside its limits.

    Source: Spall 1992; as an attack, Uesato et al., ICML 2018, there followed by Adam.

    Example:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> x = np.full((3, 4), 0.5, "float32")
    >>> SPSA(epsilon=0.1, steps=2, directions=4)(model, x, np.zeros(3, "int32")).shape
    (3, 4)
    """

    def __init__(
        self,
        *,
        epsilon: float = 8 / 255,
        step_size: float = 0.01,
        steps: int = 20,
        directions: int = 64,
        spacing: float = 0.01,
        loss: Loss = "margin",
        seed: int | Sequence[int] = 0,
        targeted: bool = False,
        norm: str = "Linf",
    ) -> None:
        threat = Threat(epsilon=epsilon, step_size=step_size, steps=steps, norm=norm)
        super().__init__(threat, seed=seed, targeted=targeted)
        if not 0 < spacing <= 1:
            raise ValueError(f"spacing must lie in (0, 1]; received {spacing}; 0.01 is usual.")
        self.directions = validation.whole_number("directions", directions)
        self.spacing = spacing
        self.loss = losses.resolved(loss)

    def get_config(self) -> Record:
        threat = self.threat
        return {
            **super().get_config(),
            "steps": threat.steps,
            "step_size": threat.step_size,
            "directions": self.directions,
            "spacing": self.spacing,
            "loss": losses.config(self.loss),
        }

    def _craft(
        self, model: keras.Model, images: Tensor, labels: Tensor, seed: int | Sequence[int]
    ) -> Tensor:
        draws, candidate = image_draws(images, seed), images
        for _ in range(self.threat.steps):
            estimate = self._estimate(model, candidate, labels, draws)
            candidate = self.threat.ascend(candidate, images, estimate)
        return candidate

    def _estimate(
        self,
        model: keras.Model,
        images: Tensor,
        labels: Tensor,
        draws: list[np.random.Generator],
    ) -> Tensor:
        shape, twice = tuple(images.shape[1:]), ops.concatenate([labels, labels])
        estimate = ops.zeros_like(images)
        for _ in range(self.directions):
            corner = np.stack([draw.choice([-1.0, 1.0], shape) for draw in draws])
            corner = ops.convert_to_tensor(corner.astype("float32"))
            ends = ops.concatenate([images + self.spacing * corner, images - self.spacing * corner])
            outputs = inference.predict(model, ops.clip(ends, *self.threat.bounds))
            outputs = ops.convert_to_tensor(outputs)
            value = losses.aimed(self.loss, self.targeted, twice, outputs)
            there, back = ops.split(value, 2)
            rise = ops.reshape(there - back, (-1,) + (1,) * len(shape))
            estimate = estimate + rise * corner
        return estimate
