"""Auto-PGD: momentum, and steps that are halved when the loss stops rising."""

from keras import ops

from keras_dep._internal.export import export
from keras_dep._internal.types import Tensor
from keras_dep.attacks.adaptive import AdaptiveAttack
from keras_dep.attacks.adaptive import Examine
from keras_dep.attacks.adaptive import Memory
from keras_dep.attacks.adaptive import stages
from keras_dep.attacks.base import choose
from keras_dep.attacks.threat import NORMS


@export
class APGD(AdaptiveAttack):
    """Ascent with momentum and a step length of each image's own.

    After each stage an image whose loss rose in no more than 75 % of the steps, or whose best loss
    has not changed, returns to its best point and halves its step.

    Args:
        epsilon: radius of the ball in pixel units; see `keras_dep.attacks.Threat`.
        steps: gradient steps, at least 1.
        restarts: independent searches, at least 1.
        norm: `"Linf"` or `"L2"`.
        loss: what the attack maximises, a name or a function; see `GradientAttack`.
        seed: seed of the random numbers, a whole number of at least 0 or a list of such.
        targeted: labels name the class to reach instead of the class to leave.
        surrogate: surrogate derivative of spikes for the gradient; default: that of each layer.
        width: width of this surrogate in units of the potential; default: its usual one.
        estimator: another rule for the derivative of spikes; see `GradientAttack`.
        samples: gradients to average in each step, for models with random outputs.

    Raises:
        ValueError: an argument outside its limits, or a model that does not suit them.

    Source: Croce and Hein, ICML 2020.

    Example:

    >>> import keras, numpy as np
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    >>> x = np.full((2, 4), 0.5, "float32")
    >>> APGD(epsilon=0.1, steps=10, loss="dlr")(model, x, np.zeros(2, "int32")).shape
    (2, 4)
    """

    NORMS = NORMS
    MOMENTUM = 0.75
    RISES = 0.75

    def _climb(
        self, examine: Examine, memory: Memory, start: Tensor, slope: Tensor, images: Tensor
    ) -> None:
        threat, loss = self.threat, memory.loss
        here = before = start
        best_slope, last_loss, checked_loss = slope, loss, loss
        # The first stage has no earlier best loss to compare with.
        halved = ops.ones_like(loss) > 0
        rises, taken, lengths = ops.zeros_like(loss), 0, stages(threat.steps)
        length = next(lengths)
        size = ops.reshape(
            2 * threat.epsilon * ops.ones_like(loss), (-1,) + (1,) * (len(images.shape) - 1)
        )
        for number in range(threat.steps):
            weight = self.MOMENTUM if number else 1.0
            ahead = threat.project(here + size * threat.direction(slope), images)
            moved = here + weight * (ahead - here) + (1 - weight) * (here - before)
            before, here = here, threat.project(moved, images)
            slope, loss, fooled = examine(here)
            better = memory.take(here, loss, fooled)
            best_slope = choose(better, slope, best_slope)
            rises = rises + ops.cast(loss > last_loss, rises.dtype)
            last_loss, taken = loss, taken + 1
            if taken == length:
                stalled = ops.logical_and(ops.logical_not(halved), checked_loss >= memory.loss)
                halved = ops.logical_or(rises <= self.RISES * length, stalled)
                checked_loss = memory.loss
                size = choose(halved, size / 2, size)
                here = choose(halved, memory.best, here)
                slope = choose(halved, best_slope, slope)
                rises, taken, length = ops.zeros_like(rises), 0, next(lengths)
