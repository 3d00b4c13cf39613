"""The basic iterative method."""

from keras_dep._internal.export import export
from keras_dep.attacks.gradient_attack import GradientAttack
from keras_dep.attacks.threat import Threat


@export
class BIM(GradientAttack):
    """PGD from the image itself.

    Args:
        epsilon: radius of the ball in pixel units; see `keras_dep.attacks.threat.Threat`.
        step_size: length of a step in pixel units.
        steps: number of steps, at least 1.
        norm: `"Linf"` or `"L2"`.
        **gradient: `loss`, `targeted`, `surrogate`, `width`, `estimator`, `samples`, as in
            `keras_dep.attacks.gradient_attack.GradientAttack`.

    Raises:
        ValueError: an argument outside its limits.

    Source: Kurakin et al., ICLR 2017.

    Example:

    >>> import keras, numpy as np
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> x = np.full((3, 4), 0.5, "float32")
    >>> BIM(epsilon=0.1, steps=3)(model, x, np.zeros(3, "int32")).shape
    (3, 4)
    """

    def __init__(self, *, epsilon=8 / 255, step_size=2 / 255, steps=10, norm="Linf", **gradient):
        threat = Threat(epsilon=epsilon, step_size=step_size, steps=steps, norm=norm)
        super().__init__(threat, **gradient)
