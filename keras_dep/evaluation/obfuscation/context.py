"""Images that withstand each attack, measured once for all checks."""

import dataclasses
import functools
import json

import keras
import numpy as np

from keras_dep import attacks
from keras_dep._internal import validation
from keras_dep._internal.types import Array
from keras_dep._internal.types import Record
from keras_dep.attacks.base import Attack
from keras_dep.evaluation import accuracy

# With more steps than these, a step of PGD gets no shorter.
SHORTEST = 50


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class EvaluationContext:
    """A model, its images and the effort to spend; boolean arrays are over all images.

    Arguments as in `keras_dep.evaluation.checklist`.

    Raises:
        ValueError: an effort that is no whole number from 1 on, or a seed that is none.
    """

    model: keras.Model
    images: Array
    labels: Array
    substitutes: tuple[keras.Model, ...]
    epsilon: float
    steps: int
    restarts: int
    queries: int
    draws: int
    seed: int
    batch_size: int
    _known: dict[str, tuple[Array, Array]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("steps", "restarts", "queries", "draws", "batch_size"):
            validation.whole_number(name, getattr(self, name))
        validation.checked_seed(self.seed)

    @property
    def common(self) -> Record:
        """Arguments of every attack in the ball."""
        return {"epsilon": self.epsilon, "seed": self.seed}

    @functools.cached_property
    def judged(self) -> tuple[Array, Array]:
        """Clean images that are classified right, and those with finite logits."""
        return accuracy.clean(self.model, self.images, self.labels, self.batch_size)

    @property
    def right(self) -> Array:
        """Clean images that are classified right."""
        return self.judged[0]

    def pgd(
        self,
        epsilon: float | None = None,
        *,
        among: Array | None = None,
        steps: int | None = None,
        restarts: int = 1,
        surrogate: str | None = None,
        estimator: str | None = None,
        samples: int = 1,
    ) -> Array:
        """Returns which images withstand PGD.

        Args:
            epsilon: radius; default: the context's.
            among: boolean array, images to attack; default: those that are right.
            steps: number of steps; default: the context's.
            restarts: number of starts.
            surrogate: surrogate derivative to look through, see `keras_dep.attacks.PGD`.
            estimator: gradient estimator to look through.
            samples: gradients to average.
        """
        attack = self.search(
            epsilon,
            steps=steps,
            restarts=restarts,
            surrogate=surrogate,
            estimator=estimator,
            samples=samples,
        )
        return self.standing(attack) if among is None else self.left(attack, among)

    def search(
        self,
        epsilon: float | None = None,
        *,
        steps: int | None = None,
        restarts: int = 1,
        surrogate: str | None = None,
        estimator: str | None = None,
        samples: int = 1,
    ) -> attacks.PGD:
        """Returns a PGD whose steps cross the ball; arguments as in `pgd`."""
        epsilon = self.epsilon if epsilon is None else epsilon
        steps = self.steps if steps is None else steps
        return attacks.PGD(
            epsilon=epsilon,
            step_size=min(1.0, 2.5 * epsilon / min(steps, SHORTEST)),
            steps=steps,
            restarts=restarts,
            seed=self.seed,
            surrogate=surrogate,
            estimator=estimator,
            samples=samples,
        )

    def fgsm(self) -> Array:
        """Returns which images withstand FGSM."""
        return self.standing(attacks.FGSM(**self.common))

    def strong(self) -> Array:
        """Returns which images withstand PGD from several starts, the reference attack."""
        return self.pgd(restarts=self.restarts)

    def adaptive(self) -> Array:
        """Returns which images withstand APGD."""
        return self.standing(attacks.APGD(steps=self.steps, **self.common))

    def stable(self) -> Array:
        """Returns which images withstand SA-PGD."""
        return self.standing(attacks.SAPGD(steps=self.steps, **self.common))

    def white(self) -> Array:
        """Returns which images withstand all four gradient attacks."""
        return self.fgsm() & self.strong() & self.adaptive() & self.stable()

    def standing(self, attack: Attack) -> Array:
        """Returns which images withstand an attack; an equal attack is made once."""
        return self._asked(attack)[0]

    def non_finite(self, attack: Attack) -> Array:
        """Returns which images get a non-finite answer, clean or under an attack."""
        return ~(self.judged[1] & self._asked(attack)[1])

    def left(self, attack: Attack, among: Array) -> Array:
        """Returns which of the images `among` are right under an attack."""
        return self._attacked(attack, among)[0]

    def _asked(self, attack):
        key = json.dumps(attack.get_config())
        if key not in self._known:
            self._known[key] = self._attacked(attack, self.right)
        return self._known[key]

    def _attacked(self, attack, among):
        """Returns which images `among` stay right, and which of all are answered finitely."""
        result, chosen = among.copy(), np.flatnonzero(among)
        finite = np.ones_like(among)
        batches = accuracy.under_attack(
            self.model, attack, self.images[chosen], self.labels[chosen], self.batch_size
        )
        for start, (still, answered, _) in zip(range(0, len(chosen), self.batch_size), batches):
            part = chosen[start : start + len(still)]
            result[part], finite[part] = still, answered
        return result, finite
