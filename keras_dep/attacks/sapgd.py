"""Stable adaptive PGD: normalised gradients with momentum, for surrogate gradients."""

from keras import ops

from keras_dep._internal.export import export
from keras_dep._internal.types import Tensor
from keras_dep.attacks.adaptive import AdaptiveAttack
from keras_dep.attacks.adaptive import Examine
from keras_dep.attacks.adaptive import Memory
from keras_dep.attacks.adaptive import stages


@export
class SAPGD(AdaptiveAttack):
    """Steps along the accumulated gradient over the root of its accumulated square.

    Both are normalised per image, so that the scale of a surrogate gradient does not matter. No
    step is longer than the current length, which is halved after each stage. An image with a zero
    gradient does not move.

    Args:
        epsilon: radius of the L-infinity ball in pixel units, in [0, 1]; the first step length.
        steps: gradient steps, at least 1.
        restarts: independent searches, at least 1.
        norm: `"Linf"`; no other ball is supported.
        loss: what the attack maximises, a name or a function; see `GradientAttack`.
        seed: seed of the random numbers, a whole number of at least 0 or a list of such.
        targeted: labels name the class to reach instead of the class to leave.
        surrogate: surrogate derivative of spikes for the gradient; default: that of each layer.
        width: width of this surrogate in units of the potential; default: its usual one.
        estimator: another rule for the derivative of spikes; see `GradientAttack`.
        samples: gradients to average in each step, for models with random outputs.

    Raises:
        ValueError: an argument outside its limits, or a model that does not suit them.

    Source: arXiv 2512.22522, with `estimator="assg"` as published.

    Example:

    >>> import keras, numpy as np
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    >>> x = np.full((2, 4), 0.5, "float32")
    >>> SAPGD(epsilon=0.1, steps=10)(model, x, np.zeros(2, "int32")).shape
    (2, 4)
    """

    MOMENTUM = 0.5
    SQUARES = 0.8
    TINY = 1e-12

    def _climb(
        self, examine: Examine, memory: Memory, start: Tensor, slope: Tensor, images: Tensor
    ) -> None:
        threat, here = self.threat, start
        momentum, squares = ops.zeros_like(slope), ops.zeros_like(slope)
        size, taken, lengths = threat.epsilon, 0, stages(threat.steps)
        length = next(lengths)
        for _ in range(threat.steps):
            # Scaled first: squares of tiny surrogate gradients would underflow.
            slope = _over_mean(ops.abs(slope), slope)
            momentum = self.MOMENTUM * momentum + slope
            squares = self.SQUARES * squares + _over_mean(ops.square(slope), ops.square(slope))
            step = ops.clip(size * momentum / (ops.sqrt(squares) + self.TINY), -size, size)
            here = threat.project(here + step, images)
            slope, loss, fooled = examine(here)
            memory.take(here, loss, fooled)
            taken += 1
            if taken == length:
                size, taken, length = size / 2, 0, next(lengths)


def _over_mean(sizes: Tensor, values: Tensor) -> Tensor:
    """`values` over the mean of `sizes` per image; zeros where that is zero."""
    mean = ops.mean(sizes, axis=tuple(range(1, len(sizes.shape))), keepdims=True)
    return values / ops.where(mean > 0, mean, ops.ones_like(mean))
