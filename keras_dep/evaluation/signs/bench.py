"""Which images stand under which attack: measured once for all signs."""

import dataclasses
import functools
import json

import keras
import numpy as np

from keras_dep import attacks
from keras_dep.evaluation import measure

# Steps from which on a step of PGD is no longer made shorter.
SHORTEST = 50


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Bench:
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

    @property
    def common(self):
        """Arguments of every attack in the ball."""
        return {"epsilon": self.epsilon, "seed": self.seed}

    @functools.cached_property
    def right(self):
        """Classified right as they are."""
        return measure.right(self.model, self.images, self.labels, self.batch_size)

    def pgd(self, epsilon=None, steps=None, restarts=1, among=None, **options):
        """Standing under PGD; one start unless said otherwise."""
        epsilon = self.epsilon if epsilon is None else epsilon
        steps = self.steps if steps is None else steps
        attack = attacks.PGD(
            epsilon=epsilon,
            step_size=min(1.0, 2.5 * epsilon / min(steps, SHORTEST)),
            steps=steps,
            restarts=restarts,
            seed=self.seed,
            **options,
        )
        return self.standing(attack) if among is None else self.left(attack, among)

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
        key = json.dumps(attack.get_config())
        if key not in self._known:
            self._known[key] = self.left(attack, self.right)
        return self._known[key]

    def left(self, attack, among):
        """What an attack leaves right among the images given."""
        result, chosen = among.copy(), np.flatnonzero(among)
        batches = measure.under_attack(
            self.model, attack, self.images[chosen], self.labels[chosen], self.batch_size
        )
        for start, (still, _) in zip(range(0, len(chosen), self.batch_size), batches):
            result[chosen[start : start + len(still)]] = still
        return result
