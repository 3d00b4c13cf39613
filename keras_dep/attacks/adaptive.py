"""Attacks that choose their own step lengths: what APGD and SA-PGD share."""

import math
from collections.abc import Sequence

import numpy as np
from keras import ops

from keras_dep.attacks.base import choose
from keras_dep.attacks.gradient_attack import GradientAttack
from keras_dep.attacks.gradient_estimators import Estimator
from keras_dep.attacks.losses import Loss
from keras_dep.attacks.randomness import image_draws
from keras_dep.attacks.threat import Threat
from keras_dep.losses import predicted_classes


class AdaptiveAttack(GradientAttack):
    """Long searches from starts on the ball's surface, that remember what fooled the network.

    Per image the result is the last iterate, over all restarts, that was misclassified; where none
    was, the iterate with the largest loss. Image and restart decide the start.

    Args:
        epsilon: radius of the ball in pixel units.
        steps: gradient steps, at least 1.
        restarts: independent searches, at least 1.
        norm: one of the class's `NORMS`.
        loss: what the attack maximises, a name or a function; see `GradientAttack`.
        seed: seed of the random numbers, a whole number of at least 0 or a list of such.
        targeted: labels name the class to reach instead of the class to leave.
        surrogate: surrogate derivative of spikes for the gradient; default: that of each layer.
        width: width of this surrogate in units of the potential; default: its usual one.
        estimator: another rule for the derivative of spikes; see `GradientAttack`.
        samples: gradients to average in each step, for models with random outputs.
    """

    NORMS: tuple[str, ...] = ("Linf",)

    def __init__(
        self,
        *,
        epsilon: float = 8 / 255,
        steps: int = 100,
        restarts: int = 1,
        norm: str = "Linf",
        loss: Loss = "ce",
        seed: int | Sequence[int] = 0,
        targeted: bool = False,
        surrogate: str | None = None,
        width: float | None = None,
        estimator: str | Estimator | None = None,
        samples: int = 1,
    ):
        if norm not in self.NORMS:
            raise ValueError(
                f"norm must be one of {', '.join(self.NORMS)} for {type(self).__name__}; received "
                f"{norm!r}."
            )
        super().__init__(
            Threat(epsilon=epsilon, steps=steps, random_start=True, restarts=restarts, norm=norm),
            loss=loss,
            seed=seed,
            targeted=targeted,
            surrogate=surrogate,
            width=width,
            estimator=estimator,
            samples=samples,
        )

    def offset(self, images, seed, restart=0):
        """On the ball's surface; see `Threat.surface`."""
        draws = image_draws(images, [*np.atleast_1d(seed), restart])
        shape = tuple(images.shape[1:])
        return np.stack([self.threat.surface(draw, shape) for draw in draws]).astype("float32")

    def climb(self, look, start, images, labels):
        return self._climbed(look, start, images, labels).chosen()

    def _search(self, model, look, images, labels, seed):
        result = None
        for restart in range(self.threat.restarts):
            memory = self._climbed(look, self._start(images, seed, restart), images, labels)
            result = memory if result is None else result.joined(memory)
        return result.chosen()

    def _climbed(self, look, start, images, labels):
        """The memory of one search."""

        def examine(candidate):
            """`(gradient, loss per image, fooled per image)` at a candidate."""
            slope, outputs = look(candidate, labels)
            slope = ops.where(ops.isfinite(slope), slope, ops.zeros_like(slope))
            loss = self.objective(labels, outputs)
            # No comparison with NaN holds: a candidate behind it would never be the better one.
            loss = ops.where(ops.isnan(loss), -math.inf, loss)
            return slope, loss, self._fooled(labels, outputs)

        slope, loss, fooled = examine(start)
        memory = Memory(start, loss, fooled)
        self._climb(examine, memory, start, slope, images)
        return memory

    def _fooled(self, labels, outputs):
        chosen = predicted_classes(outputs)
        return chosen == labels if self.targeted else chosen != labels


class Memory:
    """Per image: the last candidate that fooled the network, and the one with the largest loss."""

    def __init__(self, candidate, loss, fooled):
        self.fooling, self.fooled = candidate, fooled
        self.best, self.loss = candidate, loss

    def take(self, candidate, loss, fooled):
        """Remembers a candidate; returns where its loss is the largest so far."""
        better = loss > self.loss
        self.fooling = choose(fooled, candidate, self.fooling)
        self.fooled = ops.logical_or(self.fooled, fooled)
        self.best = choose(better, candidate, self.best)
        self.loss = ops.where(better, loss, self.loss)
        return better

    def chosen(self):
        """What fooled the network, else what has the largest loss."""
        return choose(self.fooled, self.fooling, self.best)

    def joined(self, other):
        """With the memory of another search."""
        self.take(other.fooling, self.loss, other.fooled)
        self.take(other.best, other.loss, ops.zeros_like(other.fooled))
        return self


def stages(steps):
    """Numbers of steps between looks at the step length: 22 % of all, then 3 % less each time.

    Args:
        steps: number of steps `N`.

    Yields:
        `max(22 % N, 1)`, shrinking by `max(3 % N, 1)` down to `max(6 % N, 1)`, for ever.
    """
    length, shrink, least = (max(int(share * steps), 1) for share in (0.22, 0.03, 0.06))
    while True:
        yield length
        length = max(length - shrink, least)
