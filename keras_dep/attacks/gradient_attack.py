"""The base class of white-box attacks: the gradient, and ascent along it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from collections.abc import Hashable
from collections.abc import Sequence
from typing import TypeAlias

import keras
import numpy as np
from keras import ops

from keras_dep._internal import validation
from keras_dep._internal.types import Array
from keras_dep._internal.types import ArrayLike
from keras_dep._internal.types import Record
from keras_dep._internal.types import Tensor
from keras_dep.attacks import gradient_estimators
from keras_dep.attacks import losses
from keras_dep.attacks.base import Attack
from keras_dep.attacks.base import choose
from keras_dep.attacks.gradient_estimators import Estimator
from keras_dep.attacks.looking import defines_last
from keras_dep.attacks.looking import looking
from keras_dep.attacks.losses import Loss
from keras_dep.attacks.randomness import draws
from keras_dep.attacks.randomness import random_offset
from keras_dep.attacks.randomness import random_states_kept
from keras_dep.attacks.threat import Threat
from keras_dep.models import inference

# `(images, labels) -> (gradient, outputs)`.
Look: TypeAlias = Callable[[Tensor, Tensor], Sequence[Tensor]]


class GradientAttack(Attack):
    """Base of the white-box attacks: ascent along the gradient through all time steps.

    A subclass overrides `offset`, the start, or `climb`, the search.

    Args:
        threat: the allowed change of an image, and the length and number of steps.
        loss: what the attack maximises, per sample. A name: `"ce"`, cross-entropy of the mean
            logits; `"first_step"`, of the first step's; `"tet"`, mean of the cross-entropies of all
            steps; `"margin"`, largest wrong logit minus that of the label; `"dlr"`, this over the
            spread of the logits, for three classes or more. Or a function `(labels, logits) ->
            values (batch,)` of int32 labels `(batch,)` and the model's logits `(batch, classes)` or
            `(batch, time, classes)`, float32 or wider, written in `keras.ops`. To record or save
            the attack, register it with `keras.saving.register_keras_serializable`.
        seed: seed of the random start, a whole number of at least 0 or a list of such.
        targeted: labels name the class to reach: the negative loss is maximised.
        surrogate: surrogate derivative of spikes for the gradient, one of
            `keras_dep.surrogates.names()`; default: that of each layer.
        width: width of this surrogate in units of the potential; default: its usual one.
        estimator: another rule for the derivative of spikes, in place of a surrogate: `"assg"`,
            `"bptr"`, `"conversion"`, `"hart"`, `"pdsg"`, `"rga"`, or an object such as
            `keras_dep.attacks.ASSG(vanishing=0.9)`.
        samples: gradients to average in each step, at least 1, for models with random outputs
            (expectation over transformation).

    Raises:
        ValueError: an argument outside its limits; at the call, a model that the arguments do not
            suit.

    Example:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> x, y = np.full((3, 4), 0.5, "float32"), np.zeros(3, "int32")
    >>> def confidence(labels, logits):
    ...     return -ops.max(logits, axis=-1)
    >>> GradientAttack(Threat(epsilon=0.1), loss=confidence)(model, x, y).shape
    (3, 4)
    """

    def __init__(
        self,
        threat: Threat,
        *,
        loss: Loss = "ce",
        seed: int | Sequence[int] = 0,
        targeted: bool = False,
        surrogate: str | None = None,
        width: float | None = None,
        estimator: str | Estimator | None = None,
        samples: int = 1,
    ) -> None:
        super().__init__(threat, seed=seed, targeted=targeted)
        if surrogate is None and width is not None:
            raise ValueError(f"width={width} belongs to a surrogate; name one in surrogate=.")
        if surrogate is not None and estimator is not None:
            raise ValueError(
                f"surrogate or estimator must be given, not both; received {surrogate!r} and "
                f"{estimator!r}."
            )
        self.loss = losses.resolved(loss)
        self.surrogate = surrogate
        self.width = width
        self.estimator = None if estimator is None else gradient_estimators.named(estimator)
        self._rule = self.estimator or Estimator()
        if surrogate is not None:
            self._rule = gradient_estimators.Surrogate(surrogate, width)
        self.samples = validation.whole_number("samples", samples)

    def get_config(self) -> Record:
        threat = self.threat
        return {
            **super().get_config(),
            "steps": threat.steps,
            "step_size": threat.step_size,
            "random_start": threat.random_start,
            "restarts": threat.restarts,
            "loss": losses.config(self.loss),
            "surrogate": self.surrogate,
            "width": self.width,
            "estimator": None if self.estimator is None else self.estimator.get_config(),
            "samples": self.samples,
        }

    def gradient(self, model: keras.Model, x: ArrayLike, y: ArrayLike) -> Array:
        """The gradient of the objective in the images, with its zeros and non-finite values.

        Args:
            model: as in the call.
            x: any finite images, array or tensor.
            y: labels as in the call.

        Returns:
            float32 array like the images.

        Raises:
            ValueError: as in a call, except for images out of bounds.
        """
        images, labels = self._checked(model, x, y, bounds=None)
        with random_states_kept(model):
            return ops.convert_to_numpy(self._look(model)(images, labels)[0])

    def objective(self, labels: Tensor, outputs: Tensor) -> Tensor:
        """The value that the search maximises, per sample."""
        return losses.aimed(self.loss, self.targeted, labels, outputs)

    def offset(
        self, images: ArrayLike, seed: int | Sequence[int], restart: int = 0
    ) -> Array | None:
        """The start of a search, as an offset from the images.

        Args:
            images: array or tensor `(n, ...)`.
            seed: an integer or a list of integers.
            restart: number of the search, from 0.

        Returns:
            float32 array like the images, or `None` for a start at the images themselves.
        """
        if not self.threat.random_start:
            return None
        return random_offset(self.threat, images, [*np.atleast_1d(seed), restart])

    def climb(self, look: Look, start: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        """One search from one start.

        A pure function of tensors without random numbers or branches on values, so that it also
        runs within a compiled train step.

        Args:
            look: function `(images, labels) -> (gradient, outputs)`.
            start: images in the ball to start from.
            images: the images.
            labels: int32 `(batch,)`.

        Returns:
            Adversarial images.
        """
        candidate = start
        for _ in range(self.threat.steps):
            candidate = self.threat.ascend(candidate, images, look(candidate, labels)[0])
        return candidate

    def check_classes(self, classes: int) -> None:
        """Raises `ValueError` where the loss needs more classes."""
        if self.loss == "dlr" and classes < 3:
            raise ValueError(f"loss='dlr' needs at least 3 classes; received {classes}; use 'ce'.")

    def check_layers(self, model: keras.Model) -> None:
        """Raises `ValueError` where the layers of a model do not suit the rule for spikes."""
        self._rule.check(model)

    def not_within_a_step(self) -> str | None:
        if self.threat.restarts > 1:
            return f"restarts={self.threat.restarts}; use restarts=1"
        if not defines_last(type(self), "climb", "__call__", "_craft", "_look", "_search"):
            return "one that does more than climb; use APGD, or override climb in your class"
        return None

    def _maximises(self) -> Hashable:
        """The key of `objective` in the cache of compiled gradients.

        A class that overrides `objective` alone does not share compiled gradients.
        """
        return losses.key(self.loss), self.targeted

    def _craft(
        self, model: keras.Model, images: Tensor, labels: Tensor, seed: int | Sequence[int]
    ) -> Tensor:
        if self.samples == 1 and draws(model):
            warnings.warn(
                f"{type(self).__name__} sees one draw of {model.name!r}, which draws at random; "
                "received samples=1; average the gradients of several, as samples=10.",
                stacklevel=3,
            )
        if self.loss == "dlr":
            self.check_classes(inference.class_count(model, images))
        return self._search(model, self._look(model), images, labels, seed)

    def _look(self, model: keras.Model) -> Look:
        return looking(self, model)

    def _search(
        self,
        model: keras.Model,
        look: Look,
        images: Tensor,
        labels: Tensor,
        seed: int | Sequence[int],
    ) -> Tensor:
        """The best of all restarts, per image that with the largest margin."""
        worst: Tensor = None
        worst_success: Tensor = None
        for restart in range(self.threat.restarts):
            start = self._start(images, seed, restart)
            found = self.climb(look, start, images, labels)
            if self.threat.restarts == 1:
                return found
            success = self._ask(model, found, labels)
            if worst is None:
                worst, worst_success = found, success
                continue
            better = success > worst_success
            worst = choose(better, found, worst)
            worst_success = ops.where(better, success, worst_success)
        return worst

    def _start(self, images: Tensor, seed: int | Sequence[int], restart: int) -> Tensor:
        offset = self.offset(images, seed, restart)
        if offset is None:
            return images
        return self.threat.project(images + ops.convert_to_tensor(offset), images)
