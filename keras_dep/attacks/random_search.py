"""Random search: many random points of the ball, the worst of them kept."""

import math
from collections.abc import Iterator
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from keras_dep._internal import validation
from keras_dep._internal.export import export
from keras_dep._internal.types import Array
from keras_dep._internal.types import Record
from keras_dep._internal.types import Tensor
from keras_dep.attacks.base import Attack
from keras_dep.attacks.randomness import image_draws
from keras_dep.attacks.threat import Threat

POINTS = ("corners", "uniform")


@export
class RandomSearch(Attack):
    """Tries random points of the ball and keeps, per image, the first that succeeds.

    If it fools a network where a gradient attack fails, the gradient is masked. With one uniform
    point it is uniform noise.

    Args:
        epsilon: radius of the ball in pixel units; see `keras_dep.attacks.Threat`.
        draws: points per image, at least 1.
        points: `"corners"`, every pixel moved by `epsilon` up or down, or `"uniform"`, any point of
            the ball. In the L2 ball, which has no corners, `"corners"` are points of the surface.
        seed: seed of the points.
        targeted: labels name the class to reach.
        norm: `"Linf"` or `"L2"`.

    Raises:
        ValueError: an argument outside its limits.

    Source: Athalye et al., ICML 2018 (random search as a test for masked gradients).

    Example:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> x = np.full((3, 4), 0.5, "float32")
    >>> RandomSearch(epsilon=0.1, draws=5)(model, x, np.zeros(3, "int32")).shape
    (3, 4)
    """

    def __init__(
        self,
        *,
        epsilon: float = 8 / 255,
        draws: int = 1000,
        points: str = "corners",
        seed: int | Sequence[int] = 0,
        targeted: bool = False,
        norm: str = "Linf",
    ) -> None:
        super().__init__(Threat(epsilon=epsilon, norm=norm), seed=seed, targeted=targeted)
        self.draws = validation.whole_number("draws", draws)
        self.points = validation.one_of("points", points, POINTS)

    def get_config(self) -> Record:
        return {**super().get_config(), "draws": self.draws, "points": self.points}

    def _craft(
        self, model: keras.Model, images: Tensor, labels: Tensor, seed: int | Sequence[int]
    ) -> Tensor:
        draws, shape = image_draws(images, seed), tuple(images.shape[1:])

        def points() -> Iterator[Tensor]:
            for _ in range(self.draws):
                offset = np.stack([self._offset(draw, shape) for draw in draws]).astype("float32")
                yield self.threat.project(images + ops.convert_to_tensor(offset), images)

        return self._closest(model, points(), labels)

    def _offset(self, draw: np.random.Generator, shape: tuple[int, ...]) -> Array:
        if self.threat.norm == "L2":
            surface = self.threat.surface(draw, shape)
            # The volume of a ball grows with the radius to the power of its dimension.
            share = 1 if self.points == "corners" else draw.uniform() ** (1 / math.prod(shape))
            return share * surface
        offset = draw.uniform(-1.0, 1.0, shape)
        return self.threat.epsilon * (np.sign(offset) if self.points == "corners" else offset)
