"""Projected gradient descent."""

from keras_dep._internal.export import export
from keras_dep.attacks.gradient_attack import GradientAttack
from keras_dep.attacks.threat import Threat


@export
class PGD(GradientAttack):
    """Steps up the gradient, each followed by the projection onto ball and pixel range.

    Args:
        epsilon: radius of the ball in pixel units; see `keras_dep.attacks.threat.Threat`.
        step_size: length of a step in pixel units; the paper uses 0.01 at 8/255.
        steps: number of steps, at least 1.
        random_start: start from a random point of the ball.
        restarts: independent searches, at least 1; per image the one with the largest margin of a
            wrong class is kept.
        norm: `"Linf"` or `"L2"`.
        **gradient: `loss`, `seed`, `targeted`, `surrogate`, `width`, `estimator`, `samples`, as in
            `keras_dep.attacks.gradient_attack.GradientAttack`.

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
        epsilon=8 / 255,
        step_size=0.01,
        steps=7,
        random_start=True,
        restarts=1,
        norm="Linf",
        **gradient,
    ):
        threat = Threat(
            epsilon=epsilon,
            step_size=step_size,
            steps=steps,
            random_start=random_start,
            restarts=restarts,
            norm=norm,
        )
        super().__init__(threat, **gradient)
