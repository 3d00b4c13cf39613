"""Projected gradient descent."""

from collections.abc import Sequence

from keras_dep._internal.export import export
from keras_dep.attacks.gradient_attack import GradientAttack
from keras_dep.attacks.gradient_estimators import Estimator
from keras_dep.attacks.losses import Loss
from keras_dep.attacks.threat import Threat


@export
class PGD(GradientAttack):
    """Steps up the gradient, each followed by the projection onto ball and pixel range.

    Args:
        epsilon: radius of the ball in pixel units; see `keras_dep.attacks.Threat`.
        step_size: length of a step in pixel units; the paper uses 0.01 at 8/255.
        steps: number of steps, at least 1.
        random_start: start from a random point of the ball.
        restarts: independent searches, at least 1; per image the one with the largest margin of a
            wrong class is kept.
        norm: `"Linf"` or `"L2"`.
        loss: what the attack maximises, a name or a function; see `GradientAttack`.
        seed: seed of the random numbers, a whole number of at least 0 or a list of such.
        targeted: labels name the class to reach instead of the class to leave.
        surrogate: surrogate derivative of spikes for the gradient; default: that of each layer.
        width: width of this surrogate in units of the potential; default: its usual one.
        estimator: another rule for the derivative of spikes; see `GradientAttack`.
        samples: gradients to average in each step, for models with random outputs.

    Raises:
        ValueError: an argument outside its limits.

    Source: Madry et al., ICLR 2018.

    Example:

    >>> import keras, numpy as np
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> x = np.full((3, 4), 0.5, "float32")
    >>> PGD(epsilon=0.1, steps=3)(model, x, np.zeros(3, "int32")).shape
    (3, 4)
    """

    def __init__(
        self,
        *,
        epsilon: float = 8 / 255,
        step_size: float = 0.01,
        steps: int = 7,
        random_start: bool = True,
        restarts: int = 1,
        norm: str = "Linf",
        loss: Loss = "ce",
        seed: int | Sequence[int] = 0,
        targeted: bool = False,
        surrogate: str | None = None,
        width: float | None = None,
        estimator: str | Estimator | None = None,
        samples: int = 1,
    ) -> None:
        super().__init__(
            Threat(
                epsilon=epsilon,
                step_size=step_size,
                steps=steps,
                random_start=random_start,
                restarts=restarts,
                norm=norm,
            ),
            loss=loss,
            seed=seed,
            targeted=targeted,
            surrogate=surrogate,
            width=width,
            estimator=estimator,
            samples=samples,
        )
