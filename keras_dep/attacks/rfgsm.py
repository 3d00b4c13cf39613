"""FGSM after a random signed step."""

from collections.abc import Sequence

import numpy as np

from keras_dep._internal.export import export
from keras_dep._internal.types import Array
from keras_dep._internal.types import ArrayLike
from keras_dep.attacks.gradient_attack import GradientAttack
from keras_dep.attacks.gradient_estimators import Estimator
from keras_dep.attacks.losses import Loss
from keras_dep.attacks.randomness import image_draws
from keras_dep.attacks.threat import Threat


@export
class RFGSM(GradientAttack):
    """Signed gradient steps from `x + step_size * sign(N(0, 1))`, away from a masked gradient.

    The published attack is one step of `epsilon / 2`. The result stays in the ball.

    Args:
        epsilon: radius of the L-infinity ball in pixel units, in [0, 1].
        step_size: length of the random step and of each gradient step; default `epsilon / 2`.
        steps: gradient steps, at least 1.
        loss: what the attack maximises, a name or a function; see `GradientAttack`.
        seed: seed of the random numbers, a whole number of at least 0 or a list of such.
        targeted: labels name the class to reach instead of the class to leave.
        surrogate: surrogate derivative of spikes for the gradient; default: that of each layer.
        width: width of this surrogate in units of the potential; default: its usual one.
        estimator: another rule for the derivative of spikes; see `GradientAttack`.
        samples: gradients to average in each step, for models with random outputs.

    Raises:
        ValueError: an argument outside its limits.

    Source: Tramèr et al., ICLR 2018.

    Example:

    >>> import keras
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> x = np.full((3, 4), 0.5, "float32")
    >>> RFGSM(epsilon=0.1)(model, x, np.zeros(3, "int32")).shape
    (3, 4)
    """

    def __init__(
        self,
        *,
        epsilon: float = 8 / 255,
        step_size: float | None = None,
        steps: int = 1,
        loss: Loss = "ce",
        seed: int | Sequence[int] = 0,
        targeted: bool = False,
        surrogate: str | None = None,
        width: float | None = None,
        estimator: str | Estimator | None = None,
        samples: int = 1,
    ) -> None:
        step_size = epsilon / 2 if step_size is None else step_size
        super().__init__(
            Threat(epsilon=epsilon, step_size=step_size, steps=steps),
            loss=loss,
            seed=seed,
            targeted=targeted,
            surrogate=surrogate,
            width=width,
            estimator=estimator,
            samples=samples,
        )

    def offset(self, images: ArrayLike, seed: int | Sequence[int], restart: int = 0) -> Array:
        shape = tuple(np.shape(images)[1:])
        signs = [np.sign(draw.standard_normal(shape)) for draw in image_draws(images, seed)]
        return (self.threat.step_size * np.stack(signs)).astype("float32")
