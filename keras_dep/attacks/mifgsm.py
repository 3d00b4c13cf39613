"""The momentum iterative method."""

from collections.abc import Sequence

from keras import ops

from keras_dep._internal.export import export
from keras_dep._internal.types import Record
from keras_dep._internal.types import Tensor
from keras_dep.attacks.gradient_attack import GradientAttack
from keras_dep.attacks.gradient_attack import Look
from keras_dep.attacks.gradient_estimators import Estimator
from keras_dep.attacks.losses import Loss
from keras_dep.attacks.threat import Threat


@export
class MIFGSM(GradientAttack):
    """Steps along the accumulated gradient, each gradient divided by its mean absolute value.

    Momentum keeps the search from following one model too closely, so its images transfer well.

    Args:
        epsilon: radius of the ball in pixel units; see `keras_dep.attacks.Threat`.
        step_size: length of a step in pixel units.
        steps: number of steps, at least 1.
        decay: factor of the accumulated gradient from step to step, at least 0.
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

    Source: Dong et al., CVPR 2018.

    Example:

    >>> import keras, numpy as np
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> x = np.full((3, 4), 0.5, "float32")
    >>> MIFGSM(epsilon=0.1, steps=3)(model, x, np.zeros(3, "int32")).shape
    (3, 4)
    """

    def __init__(
        self,
        *,
        epsilon: float = 8 / 255,
        step_size: float = 2 / 255,
        steps: int = 10,
        decay: float = 1.0,
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
            Threat(epsilon=epsilon, step_size=step_size, steps=steps, norm=norm),
            loss=loss,
            seed=seed,
            targeted=targeted,
            surrogate=surrogate,
            width=width,
            estimator=estimator,
            samples=samples,
        )
        if not decay >= 0:
            raise ValueError(f"decay must be at least 0; received {decay}; the usual one is 1.")
        self.decay = decay

    def get_config(self) -> Record:
        return {**super().get_config(), "decay": self.decay}

    def climb(self, look: Look, start: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        here, momentum = start, ops.zeros_like(images)
        axes = tuple(range(1, len(images.shape)))
        for _ in range(self.threat.steps):
            slope = look(here, labels)[0]
            slope = ops.where(ops.isfinite(slope), slope, ops.zeros_like(slope))
            size = ops.mean(ops.abs(slope), axis=axes, keepdims=True)
            momentum = (
                slope / ops.where(size > 0, size, ops.ones_like(size)) + self.decay * momentum
            )
            here = self.threat.ascend(here, images, momentum)
        return here
