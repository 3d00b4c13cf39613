"""Square: random search by squares of pixels, without a gradient."""

import math
from collections.abc import Callable
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from keras_dep._internal import validation
from keras_dep._internal.export import export
from keras_dep._internal.types import Record
from keras_dep._internal.types import Tensor
from keras_dep.attacks import square_l2
from keras_dep.attacks.base import Attack
from keras_dep.attacks.randomness import image_draws
from keras_dep.attacks.square_l2 import Floats
from keras_dep.attacks.threat import Threat
from keras_dep.models import inference

# Queries of 10,000 after which the share of changed pixels halves.
HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)


@export
class Square(Attack):
    """Changes ever smaller squares of the image at random and keeps a change that helps.

    In the L-infinity ball it starts from stripes of `+-epsilon`; in the L2 ball from bumps all over
    the image, whose length it moves into ever smaller windows. It uses logits alone, so a masked
    gradient does not stop it. Each image has random numbers of its own.

    Args:
        epsilon: radius of the ball in pixel units; see `keras_dep.attacks.Threat`.
        queries: squares to try after the start, at least 1.
        share: share of the pixels in the first squares, in (0, 1].
        seed: seed of the squares.
        targeted: labels name the class to reach.
        norm: `"Linf"` or `"L2"`.

    Call arguments:
        x: images `(batch, height, width, channels)`, or channels first if the data format of the
            model's first layer that has one, else of Keras, says so. Frames of images
            `(batch, time, ...)` share the place of each square, not its sign.

    Raises:
        ValueError: an argument outside its limits, or images without rows and columns.

    Source: Andriushchenko et al., ECCV 2020, with the schedule stretched to `queries`.

    Example:

    >>> model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten()])
    >>> model.add(keras.layers.Dense(2))
    >>> x = np.full((3, 4, 4, 1), 0.5, "float32")
    >>> Square(epsilon=0.1, queries=5)(model, x, np.zeros(3, "int32")).shape
    (3, 4, 4, 1)
    """

    def __init__(
        self,
        *,
        epsilon: float = 8 / 255,
        queries: int = 5000,
        share: float = 0.8,
        seed: int | Sequence[int] = 0,
        targeted: bool = False,
        norm: str = "Linf",
    ) -> None:
        super().__init__(Threat(epsilon=epsilon, norm=norm), seed=seed, targeted=targeted)
        if not 0 < share <= 1:
            raise ValueError(f"share must lie in (0, 1]; received {share}; the usual one is 0.8.")
        self.queries = validation.whole_number("queries", queries)
        self.share = share

    def get_config(self) -> Record:
        return {**super().get_config(), "queries": self.queries, "share": self.share}

    def _craft(
        self, model: keras.Model, images: Tensor, labels: Tensor, seed: int | Sequence[int]
    ) -> Tensor:
        if len(images.shape) not in (4, 5):
            raise ValueError(
                "Square needs images with rows, columns and channels; received shape "
                f"{tuple(images.shape)}; use RandomSearch."
            )
        as_map, as_given = layouts(images.shape, *inference.data_formats(model)[:1])
        clean = as_map(ops.convert_to_numpy(images))
        draws = image_draws(clean, seed)

        def distance(candidate: Floats) -> Floats:
            return ops.convert_to_numpy(self._ask(model, as_given(candidate), labels))

        best = np.stack([self._first(*each) for each in zip(draws, clean)])
        success = distance(best)
        for query in range(self.queries):
            if (success > 0).all():
                break
            side = self._side(query, clean.shape[1:3])
            candidate = best.copy()
            # A misclassified image stays as it is.
            for i in np.flatnonzero(success <= 0):
                candidate[i] = self._next(draws[i], clean[i], best[i], side)
            found = distance(candidate)
            better = (success <= 0) & ((found > success) | (found >= 0))
            best[better], success[better] = candidate[better], found[better]
        return self.threat.project(ops.convert_to_tensor(as_given(best)), images)

    def _first(self, draw: np.random.Generator, clean: Floats) -> Floats:
        """The start of the search for one image."""
        if self.threat.norm == "L2":
            change = square_l2.first_bumps(draw, clean.shape, self.threat.epsilon)
        else:
            change = np.float32(self.threat.epsilon) * draw_stripes(draw, clean.shape)
        return np.clip(clean + change, *self.threat.bounds)

    def _next(self, draw: np.random.Generator, clean: Floats, best: Floats, side: int) -> Floats:
        """The next candidate for one image."""
        epsilon = np.float32(self.threat.epsilon)
        if self.threat.norm == "L2":
            side = square_l2.odd_side(side, clean.shape[:2])
            change = square_l2.moved_bump(draw, best - clean, epsilon, side)
            return np.clip(clean + change, *self.threat.bounds)
        painted = best + 2 * epsilon * draw_square(draw, clean.shape, side)
        return np.clip(np.clip(painted, clean - epsilon, clean + epsilon), *self.threat.bounds)

    def _side(self, query: int, shape: tuple[int, ...]) -> int:
        place = int(query / self.queries * 10000)
        share = self.share / 2 ** sum(place > limit for limit in HALVINGS)
        return min(max(round(math.sqrt(share * shape[0] * shape[1])), 1), *shape)


def layouts(
    shape: Sequence[int], data_format: str | None = None
) -> tuple[Callable[[Floats], Floats], Callable[[Floats], Floats]]:
    """Functions from images or frames of a shape to `(batch, rows, columns, rest)` and back.

    Args:
        shape: shape of the images `(batch, ...)` or frames `(batch, time, ...)`.
        data_format: `"channels_last"` or `"channels_first"`; default: that of Keras.

    Returns:
        `(as_map, as_given)`, two functions of an array.
    """
    first = (data_format or keras.config.image_data_format()) == "channels_first"
    frames = tuple(shape[1:-3])

    def as_map(pixels: Floats) -> Floats:
        pixels = np.moveaxis(pixels, -3, -1) if first else pixels
        pixels = np.moveaxis(pixels, 1, -2) if frames else pixels
        return pixels.reshape(*pixels.shape[:3], -1)

    def as_given(pixels: Floats) -> Floats:
        pixels = pixels.reshape(*pixels.shape[:3], *frames, -1)
        pixels = np.moveaxis(pixels, -2, 1) if frames else pixels
        return np.ascontiguousarray(np.moveaxis(pixels, -1, -3) if first else pixels)

    return as_map, as_given


def draw_stripes(draw: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Random signs `(1, width, channels)`, one for each column and channel."""
    return draw.choice(np.array([-1, 1], "float32"), (1, *shape[1:]))


def draw_square(draw: np.random.Generator, shape: tuple[int, ...], side: int) -> Floats:
    """Zeros of `shape`, except in one square with a random sign per channel."""
    row, column = (draw.integers(0, size - side + 1) for size in shape[:2])
    square = np.zeros(shape, "float32")
    signs = draw.choice(np.array([-1, 1], "float32"), shape[2])
    square[row : row + side, column : column + side] = signs
    return square
