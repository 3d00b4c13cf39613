"""The fast gradient sign method."""

from collections.abc import Sequence

from keras_dep._internal.export import export
from keras_dep.attacks.gradient_attack import GradientAttack
from keras_dep.attacks.gradient_estimators import Estimator
from keras_dep.attacks.losses import Loss
from keras_dep.attacks.threat import Threat


@export
class FGSM(GradientAttack):
    """One signed gradient step of full length: `clip(x + epsilon * sign(grad), 0, 1)`.

    With `norm="L2"` the step is `epsilon * grad / |grad|`.

    Args:
        epsilon: radius of the ball in pixel units; see `keras_dep.attacks.Threat`.
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

    Source: Goodfellow et al., ICLR 2015.

    Example:

    >>> import keras, numpy as np
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> x = np.full((3, 4), 0.5, "float32")
    >>> x_adv = FGSM(epsilon=0.1)(model, x, np.zeros(3, "int32"))
    >>> bool(np.max(np.abs(x_adv - x)) <= 0.1 + 1e-6)
    True
    """

    def __init__(
        self,
        *,
        epsilon: float = 8 / 255,
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
            Threat(epsilon=epsilon, norm=norm),
            loss=loss,
            seed=seed,
            targeted=targeted,
            surrogate=surrogate,
            width=width,
            estimator=estimator,
            samples=samples,
        )
