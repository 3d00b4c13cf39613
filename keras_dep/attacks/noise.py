"""Noise, which no attacker chose: what a network must stand before any attack counts."""

import numpy as np
from keras import ops

from keras_dep._internal.export import export
from keras_dep.attacks.base import Attack
from keras_dep.attacks.randomness import image_draws
from keras_dep.attacks.threat import Threat


@export
class GaussianNoise(Attack):
    """Adds one normal draw per pixel, cut to the pixel range and not to a ball.

    Args:
        std: standard deviation in pixel units, in [0, 1].
        seed: seed of the draws.

    Raises:
        ValueError: `std` outside [0, 1].

    Example:

    >>> import keras
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> x = np.full((3, 4), 0.5, "float32")
    >>> GaussianNoise(std=0.1)(model, x, np.zeros(3, "int32")).shape
    (3, 4)
    """

    def __init__(self, *, std=8 / 255, seed=0):
        if not 0 <= std <= 1:
            raise ValueError(f"std must lie in [0, 1] (pixels are in [0, 1]); received {std}.")
        # No radius holds a normal draw but that of the pixel range.
        super().__init__(Threat(epsilon=1.0), seed=seed)
        self.std = std

    def get_config(self):
        return {**super().get_config(), "norm": None, "epsilon": None, "std": self.std}

    def _craft(self, model, images, labels, seed):
        shape = tuple(images.shape[1:])
        noise = np.stack([draw.standard_normal(shape) for draw in image_draws(images, seed)])
        return ops.clip(
            images + ops.convert_to_tensor((self.std * noise).astype("float32")),
            *self.threat.bounds,
        )
