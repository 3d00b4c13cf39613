"""The momentum iterative method."""

from keras import ops

from keras_dep._internal.export import export
from keras_dep.attacks.gradient_attack import GradientAttack
from keras_dep.attacks.threat import Threat


@export
class MIFGSM(GradientAttack):
    """Steps along the sign of the accumulated gradient, each gradient over its mean size.

    Momentum carries the search past what is peculiar to one model, so its images transfer well.

    Args:
        epsilon: radius of the ball in pixel units; see `keras_dep.attacks.threat.Threat`.
        step_size: length of a step in pixel units.
        steps: number of steps, at least 1.
        decay: what the accumulated gradient keeps from step to step, at least 0.
        norm: `"Linf"` or `"L2"`.
        **gradient: `loss`, `targeted`, `surrogate`, `width`, `estimator`, `samples`, as in
            `keras_dep.attacks.gradient_attack.GradientAttack`.

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
        epsilon=8 / 255,
        step_size=2 / 255,
        steps=10,
        decay=1.0,
        norm="Linf",
        **gradient,
    ):
        threat = Threat(epsilon=epsilon, step_size=step_size, steps=steps, norm=norm)
        super().__init__(threat, **gradient)
        if not decay >= 0:
            raise ValueError(f"decay must be at least 0; received {decay}; the usual one is 1.")
        self.decay = decay

    def get_config(self):
        return {**super().get_config(), "decay": self.decay}

    def climb(self, look, start, images, labels):
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
