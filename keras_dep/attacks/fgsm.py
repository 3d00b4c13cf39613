"""The fast gradient sign method."""

from keras_dep._internal.export import export
from keras_dep.attacks.gradient_attack import GradientAttack
from keras_dep.attacks.threat import Threat


@export
class FGSM(GradientAttack):
    """One signed gradient step of full length: `clip(x + epsilon * sign(grad), 0, 1)`.

    With `norm="L2"` the step is `epsilon * grad / |grad|`.

    Args:
        epsilon: radius of the ball in pixel units; see `keras_dep.attacks.threat.Threat`.
        norm: `"Linf"` or `"L2"`.
        **gradient: `loss`, `targeted`, `surrogate`, `width`, `estimator`, `samples`, as in
            `keras_dep.attacks.gradient_attack.GradientAttack`.

    Raises:
        ValueError: an argument outside its limits.

    Source: Goodfellow et al., ICLR 2015.

    Example:

    >>> import keras, numpy as np
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> x = np.full((3, 4), 0.5, "float32")
    >>> x_adv = FGSM(epsilon=0.1)(model, x, np.zeros(3, "int32"))
    >>> bool(np.max(np.abs(x_adv - x)) <= 0.1 + 1e-6)
    True
    """

    def __init__(self, *, epsilon=8 / 255, norm="Linf", **gradient):
        super().__init__(Threat(epsilon=epsilon, norm=norm), **gradient)
