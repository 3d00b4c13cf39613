"""Which images stand under which attack: measured once for all signs."""

import dataclasses
import functools
import json

import keras
import numpy as np

from keras_dep import attacks
from keras_dep._internal import validation
from keras_dep.evaluation import accuracy

# Steps from which on a step of PGD is no longer made shorter.
SHORTEST = 50


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class EvaluationContext:
    """A model, its images and the effort to be spent; boolean arrays are over all images.

    Arguments as in `keras_dep.evaluation.checklist`.
    """

    model: keras.Model
    images: np.ndarray
    labels: np.ndarray
    substitutes: tuple
    epsilon: float
    steps: int
    restarts: int
    queries: int
    draws: int
    seed: int
    batch_size: int
    _known: dict = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        for name in ("steps", "restarts", "queries", "draws", "batch_size"):
            validation.whole_number(name, getattr(self, name))
        validation.checked_seed(self.seed)

    @property
    def common(self):
        """Arguments of every attack in the ball."""
        return {"epsilon": self.epsilon, "seed": self.seed}

    @functools.cached_property
    def judged(self):
        """Classified right as they are, and answered with finite logits."""
        return accuracy.judged(self.model, self.images, self.labels, self.batch_size)

    @property
    def right(self):
        """Classified right as they are."""
        return self.judged[0]

    def pgd(self, epsilon=None, among=None, **options):
        """Standing under PGD; one start unless said otherwise."""
        attack = self.search(epsilon, **options)
        return self.standing(attack) if among is None else self.left(attack, among)

    def search(self, epsilon=None, steps=None, restarts=1, **options):
        """PGD with steps that cross the ball."""
        epsilon = self.epsilon if epsilon is None else epsilon
        steps = self.steps if steps is None else steps
        return attacks.PGD(
            epsilon=epsilon,
            step_size=min(1.0, 2.5 * epsilon / min(steps, SHORTEST)),
            steps=steps,
            restarts=restarts,
            seed=self.seed,
            **options,
        )

    def fgsm(self):
        return self.standing(attacks.FGSM(**self.common))

    def strong(self):
        """Standing under PGD from several starts, what other attacks are measured by."""
        return self.pgd(restarts=self.restarts)

    def adaptive(self):
        return self.standing(attacks.APGD(steps=self.steps, **self.common))

    def stable(self):
        return self.standing(attacks.SAPGD(steps=self.steps, **self.common))

    def white(self):
        """Standing under all gradient attacks."""
        return self.fgsm() & self.strong() & self.adaptive() & self.stable()

    def standing(self, attack):
        """Standing under an attack, asked once."""
        return self._asked(attack)[0]

    def non_finite(self, attack):
        """Answered with something that is not finite, as they are or under an attack."""
        return ~(self.judged[1] & self._asked(attack)[1])

    def left(self, attack, among):
        """What an attack leaves right among the images given."""
        return self._attacked(attack, among)[0]

    def _asked(self, attack):
        key = json.dumps(attack.get_config())
        if key not in self._known:
            self._known[key] = self._attacked(attack, self.right)
        return self._known[key]

    def _attacked(self, attack, among):
        """Which of the images given an attack leaves right; which of all are answered finitely."""
        result, chosen = among.copy(), np.flatnonzero(among)
        finite = np.ones_like(among)
        batches = accuracy.under_attack(
            self.model, attack, self.images[chosen], self.labels[chosen], self.batch_size
        )
        for start, (still, answered, _) in zip(range(0, len(chosen), self.batch_size), batches):
            part = chosen[start : start + len(still)]
            result[part], finite[part] = still, answered
        return result, finite
