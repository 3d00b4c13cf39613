"""The base class of attacks that adapt their step length, APGD and SA-PGD."""

from __future__ import annotations

import math
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import TypeAlias

import keras
import numpy as np
from keras import ops

from keras_dep._internal import validation
from keras_dep._internal.types import Array
from keras_dep._internal.types import ArrayLike
from keras_dep._internal.types import Tensor
from keras_dep.attacks.base import choose
from keras_dep.attacks.gradient_attack import GradientAttack
from keras_dep.attacks.gradient_attack import Look
from keras_dep.attacks.gradient_estimators import Estimator
from keras_dep.attacks.losses import Loss
from keras_dep.attacks.randomness import image_draws
from keras_dep.attacks.threat import Threat
from keras_dep.losses import predicted_classes

# Of a candidate: gradient, loss per image, whether each is misclassified.
Examine: TypeAlias = Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]


class AdaptiveAttack(GradientAttack):
    """Base of APGD and SA-PGD: a long search from the ball's surface that keeps its best iterates.

    Per image the result is the last misclassified iterate over all restarts; without one, the
    iterate with the largest loss. A subclass overrides `_climb`.

    Args:
        epsilon: radius of the ball in pixel units.
        steps: gradient steps, at least 1.
        restarts: independent searches, at least 1.
        norm: one of `NORMS` of the class.
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
    ) -> None:
        validation.one_of(f"norm of {type(self).__name__}", norm, self.NORMS)
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

    def offset(self, images: ArrayLike, seed: int | Sequence[int], restart: int = 0) -> Array:
        """A start on the ball's surface; see `Threat.surface`. Arguments as in `GradientAttack`."""
        draws = image_draws(images, [*np.atleast_1d(seed), restart])
        shape = tuple(np.shape(images)[1:])
        return np.stack([self.threat.surface(draw, shape) for draw in draws]).astype("float32")

    def climb(self, look: Look, start: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        return self._climbed(look, start, images, labels).chosen()

    def _search(
        self,
        model: keras.Model,
        look: Look,
        images: Tensor,
        labels: Tensor,
        seed: int | Sequence[int],
    ) -> Tensor:
        result, *others = (
            self._climbed(look, self._start(images, seed, restart), images, labels)
            for restart in range(self.threat.restarts)
        )
        for memory in others:
            result = result.joined(memory)
        return result.chosen()

    def _climbed(self, look: Look, start: Tensor, images: Tensor, labels: Tensor) -> Memory:
        """The best iterates of one search."""

        def examine(candidate: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            """Gradient, loss per image, and whether each image is misclassified."""
            slope, outputs = look(candidate, labels)
            slope = ops.where(ops.isfinite(slope), slope, ops.zeros_like(slope))
            loss = self.objective(labels, outputs)
            # No later candidate would compare as better than NaN.
            loss = ops.where(ops.isnan(loss), -math.inf, loss)
            return slope, loss, self._fooled(labels, outputs)

        slope, loss, fooled = examine(start)
        memory = Memory(start, loss, fooled)
        self._climb(examine, memory, start, slope, images)
        return memory

    def _climb(
        self, examine: Examine, memory: Memory, start: Tensor, slope: Tensor, images: Tensor
    ) -> None:
        """The search of a subclass: `memory` takes each candidate."""
        raise NotImplementedError

    def _fooled(self, labels: Tensor, outputs: Tensor) -> Tensor:
        chosen = predicted_classes(outputs)
        return chosen == labels if self.targeted else chosen != labels


class Memory:
    """Per image: the last misclassified candidate, and the candidate with the largest loss.

    Args:
        candidate: images.
        loss: their losses `(batch,)`.
        fooled: whether each is misclassified, `(batch,)`.
    """

    def __init__(self, candidate: Tensor, loss: Tensor, fooled: Tensor) -> None:
        self.fooling, self.fooled = candidate, fooled
        self.best, self.loss = candidate, loss

    def take(self, candidate: Tensor, loss: Tensor, fooled: Tensor) -> Tensor:
        """Adds a candidate; returns where its loss is the largest so far."""
        better = loss > self.loss
        self.fooling = choose(fooled, candidate, self.fooling)
        self.fooled = ops.logical_or(self.fooled, fooled)
        self.best = choose(better, candidate, self.best)
        self.loss = ops.where(better, loss, self.loss)
        return better

    def chosen(self) -> Tensor:
        """The misclassified candidate, else the one with the largest loss."""
        return choose(self.fooled, self.fooling, self.best)

    def joined(self, other: Memory) -> Memory:
        """This memory, with the candidates of another one added."""
        self.take(other.fooling, self.loss, other.fooled)
        self.take(other.best, other.loss, ops.zeros_like(other.fooled))
        return self


def stages(steps: int) -> Iterator[int]:
    """Lengths of the stages after which the step length is reconsidered.

    Args:
        steps: number of steps `N`.

    Yields:
        22 % of `N`, then each time 3 % less, down to 6 %; each at least 1; endless.
    """
    length, shrink, least = (max(int(share * steps), 1) for share in (0.22, 0.03, 0.06))
    while True:
        yield length
        length = max(length - shrink, least)
