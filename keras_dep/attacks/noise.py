"""Gaussian noise, the baseline of every attack."""

from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from keras_dep._internal.export import export
from keras_dep._internal.types import Record
from keras_dep._internal.types import Tensor
from keras_dep.attacks.base import Attack
from keras_dep.attacks.randomness import image_draws
from keras_dep.attacks.threat import Threat


@export
class GaussianNoise(Attack):
    """Adds normal noise to each pixel, clipped to the pixel range and to no ball.

    Args:
        std: standard deviation in pixel units, in [0, 1].
        seed: seed of the noise.

    Raises:
        ValueError: `std` outside [0, 1].

    Example:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> x = np.full((3, 4), 0.5, "float32")
    >>> GaussianNoise(std=0.1)(model, x, np.zeros(3, "int32")).shape
    (3, 4)
    """

    def __init__(self, *, std: float = 8 / 255, seed: int | Sequence[int] = 0) -> None:
        if not 0 <= std <= 1:
            raise ValueError(f"std must lie in [0, 1] (pixels are in [0, 1]); received {std}.")
        # Normal noise has no bound but the pixel range.
        super().__init__(Threat(epsilon=1.0), seed=seed)
        self.std = std

    def get_config(self) -> Record:
        return {**super().get_config(), "norm": None, "epsilon": None, "std": self.std}

    def _craft(
        self, model: keras.Model, images: Tensor, labels: Tensor, seed: int | Sequence[int]
    ) -> Tensor:
        shape = tuple(images.shape[1:])
        noise = np.stack([draw.standard_normal(shape) for draw in image_draws(images, seed)])
        return ops.clip(
            images + ops.convert_to_tensor((self.std * noise).astype("float32")),
            *self.threat.bounds,
        )
