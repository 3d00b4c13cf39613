"""The base class of all attacks: one call, one record, nothing changed in the model."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from keras_dep import distribution
from keras_dep._internal import compilation
from keras_dep._internal import validation
from keras_dep._internal.types import ArrayLike
from keras_dep._internal.types import Record
from keras_dep._internal.types import Tensor
from keras_dep.attacks import losses
from keras_dep.attacks import record
from keras_dep.attacks.randomness import random_states_kept
from keras_dep.attacks.threat import Threat
from keras_dep.models import inference


class Attack:
    """Base of all attacks: `attack(model, x, y) -> x_adv`. A subclass overrides `_craft`.

    The model runs in inference mode. Its weights, statistics, metrics, random states and optimizer
    are the same before and after. Random numbers depend on the attack's seed and the pixels of
    each image alone: two calls agree, and an image gets the same result in any batch.

    Args:
        threat: the allowed change of an image.
        seed: seed of the random numbers, a whole number of at least 0 or a list of such.
        targeted: labels name the class to reach instead of the class to leave.

    Raises:
        ValueError: a seed that is none.

    Example:

    >>> class Darken(Attack):
    ...     def _craft(self, model, images, labels, seed):
    ...         return self.threat.project(images - 1.0, images)
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> x, y = np.full((1, 4), 0.5, "float32"), np.zeros(1, "int32")
    >>> Darken(Threat(epsilon=0.25))(model, x, y).tolist()
    [[0.25, 0.25, 0.25, 0.25]]
    """

    def __init__(
        self, threat: Threat, *, seed: int | Sequence[int] = 0, targeted: bool = False
    ) -> None:
        self.threat = threat
        self.seed = validation.checked_seed(seed)
        self.targeted = targeted

    def __call__(
        self,
        model: keras.Model,
        x: ArrayLike,
        y: ArrayLike,
        seed: int | Sequence[int] | None = None,
        spare_errors: bool = False,
    ) -> Tensor:
        """Crafts adversarial images.

        Args:
            model: a built `keras.Model` from images to logits `(batch, classes)` or
                `(batch, time, classes)`.
            x: images in the bounds of the threat, array or tensor, at least one.
            y: the true classes, or the classes to reach for a targeted attack: whole numbers
                `(batch,)` or `(batch, 1)`, or one-hot rows `(batch, classes)`.
            seed: replaces the attack's seed for this call.
            spare_errors: leave images unchanged for which the attack has succeeded already: the
                model misclassifies them, or a targeted attack's class is the answer.

        Returns:
            float32 images of the shape of `x`: a NumPy array for a NumPy array, else a tensor.

        Raises:
            ValueError: images that are not finite or outside the bounds, labels that do not fit the
                images or the classes of the model, or a model whose outputs are no logits.
        """
        seed = self.seed if seed is None else validation.checked_seed(seed)
        images, labels = self._checked(model, x, y, self.threat.bounds)
        with random_states_kept(model):
            found = self._craft(model, images, labels, seed)
            if spare_errors:
                found = choose(self._ask(model, images, labels) > 0, images, found)
        return ops.convert_to_numpy(found) if isinstance(x, np.ndarray) else found

    def get_config(self) -> Record:
        """The settings that decide the attack, as a dictionary for JSON; see `from_config`."""
        threat = self.threat
        return {
            "attack": type(self).__name__,
            "norm": threat.norm,
            "epsilon": threat.epsilon,
            "bounds": list(threat.bounds),
            "seed": self.seed,
            "targeted": self.targeted,
        }

    @classmethod
    def from_config(cls, config: Record) -> Attack:
        """The attack that `get_config` describes, also after a round trip through JSON.

        Args:
            config: the dictionary of `get_config`.

        Returns:
            An attack of this class.

        Raises:
            ValueError: a dictionary that describes no attack of this class.
        """
        return record.rebuilt(cls, config)

    def not_within_a_step(self) -> str | None:
        """Why the attack cannot run within a train step, as a clause; `None` where it can."""
        return "one that asks the model between its moves; use a gradient attack, as PGD"

    def success(self, labels: Tensor, outputs: Tensor) -> Tensor:
        """How far outputs are on the attacker's side, per sample; see `losses.success`."""
        return losses.success(self.targeted, labels, outputs)

    def _craft(
        self, model: keras.Model, images: Tensor, labels: Tensor, seed: int | Sequence[int]
    ) -> Tensor:
        """Adversarial images, from checked images and int32 labels `(batch,)`."""
        raise NotImplementedError

    def _checked(
        self,
        model: keras.Model,
        x: ArrayLike,
        y: ArrayLike,
        bounds: tuple[float, float] | None,
    ) -> tuple[Tensor, Tensor]:
        """Images and int32 labels `(batch,)` as tensors."""
        compilation.heed_changes(model)
        images, _ = validation.images_and_labels(x, y, bounds=bounds)
        with random_states_kept(model):
            classes = inference.class_count(model, images)
        labels = validation.class_labels(y, classes)
        divided = distribution.workers().divided
        return divided(ops.convert_to_tensor(images)), divided(ops.convert_to_tensor(labels))

    def _closest(self, model: keras.Model, candidates: Iterable[Tensor], labels: Tensor) -> Tensor:
        """Per image, the first candidate that succeeds, else the one closest to success."""
        best: Tensor = None
        success: Tensor = None
        for candidate in candidates:
            found = self._ask(model, candidate, labels)
            if best is None:
                best, success = candidate, found
            else:
                better = ops.logical_and(success <= 0, found > success)
                best, success = choose(better, candidate, best), ops.where(better, found, success)
            if bool(ops.all(success > 0)):
                break
        return best

    def _ask(self, model: keras.Model, images: Tensor, labels: Tensor) -> Tensor:
        return self.success(labels, ops.convert_to_tensor(inference.predict(model, images)))


def choose(mask: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Per image, `first` where `mask` `(batch,)` holds, else `second`."""
    return ops.where(ops.reshape(mask, (-1,) + (1,) * (len(first.shape) - 1)), first, second)
