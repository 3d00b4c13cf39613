"""What the white-box attacks share: the call, the gradient, and signed gradient ascent."""

import numpy as np
from keras import ops

from keras_dep._internal import validation
from keras_dep.attacks import gradient_estimators
from keras_dep.attacks import losses
from keras_dep.attacks.base import Attack
from keras_dep.attacks.base import choose
from keras_dep.attacks.looking import defines_last
from keras_dep.attacks.looking import looking
from keras_dep.attacks.randomness import random_offset
from keras_dep.attacks.randomness import random_states_kept
from keras_dep.attacks.threat import Threat
from keras_dep.models import inference


class GradientAttack(Attack):
    """Base of the white-box attacks: the gradient through every time step.

    Args:
        threat: the `keras_dep.attacks.threat.Threat`.
        seed: seed of the random starts.
        targeted: labels name the class to be reached.
        loss: what is maximised: `"ce"`, the cross-entropy of the mean logits; `"first_step"`, that
            of the first step; `"tet"`, the mean of every step's; `"margin"`, the largest wrong
            logit minus the right one; `"dlr"`, that over the spread of the logits, for three
            classes or more.
        surrogate: the surrogate derivative to look through, one of
            `keras_dep.surrogates.names()`; default: the one of each layer.
        width: its width; default: the usual one.
        estimator: in its place another rule for the derivative of spikes: `"assg"`, `"bptr"`,
            `"conversion"`, `"hart"`, `"pdsg"` or `"rga"`, or an object of these with other
            settings, as `keras_dep.attacks.ASSG(vanishing=0.9)`.
        samples: passes whose gradients are averaged, for models that draw at random (expectation
            over transformation).

    Raises:
        ValueError: an argument outside its limits; at the call, a model that does not suit them.
    """

    def __init__(
        self,
        threat: Threat,
        *,
        seed=0,
        targeted=False,
        loss="ce",
        surrogate=None,
        width=None,
        estimator=None,
        samples=1,
    ):
        super().__init__(threat, seed=seed, targeted=targeted)
        if surrogate is None and width is not None:
            raise ValueError(f"width={width} belongs to a surrogate; name one in surrogate=.")
        if surrogate is not None and estimator is not None:
            raise ValueError(
                f"surrogate or estimator must be given, not both; received {surrogate!r} and "
                f"{estimator!r}."
            )
        self.loss = losses.check(loss)
        self.surrogate = surrogate
        self.width = width
        self.estimator = None if estimator is None else gradient_estimators.named(estimator)
        self._rule = self.estimator or gradient_estimators.Estimator()
        if surrogate is not None:
            self._rule = gradient_estimators.Surrogate(surrogate, width)
        self.samples = validation.whole_number("samples", samples)

    def get_config(self):
        threat = self.threat
        return {
            **super().get_config(),
            "steps": threat.steps,
            "step_size": threat.step_size,
            "random_start": threat.random_start,
            "restarts": threat.restarts,
            "loss": self.loss,
            "surrogate": self.surrogate,
            "width": self.width,
            "estimator": None if self.estimator is None else self.estimator.get_config(),
            "samples": self.samples,
        }

    def gradient(self, model, x, y):
        """Gradient of the objective at images, as it is: zeros and non-finite values included.

        Arguments as in the call; any finite images.
        """
        images, labels = self._checked(model, x, y, bounds=None)
        with random_states_kept(model):
            return ops.convert_to_numpy(self._look(model)(images, labels)[0])

    def objective(self, labels, outputs):
        """What the search maximises, per sample."""
        return losses.aimed(self.loss, self.targeted, labels, outputs)

    def offset(self, images, seed, restart=0):
        """Where a search starts, as an offset from the images.

        Args:
            images: array or tensor `(n, ...)`.
            seed: an integer or a list of integers.
            restart: number of the search.

        Returns:
            float32 array like the images, or `None` for the images themselves.
        """
        if not self.threat.random_start:
            return None
        return random_offset(self.threat, images, [*np.atleast_1d(seed), restart])

    def climb(self, look, start, images, labels):
        """One search: the adversarial images that it finds from a start.

        A pure function of tensors, which runs as well within a compiled train step: it branches on
        no value, and draws nothing.

        Args:
            look: function `(x, y) -> (gradient, outputs)`.
            start: images in the ball to start from.
            images: the images.
            labels: int32 `(batch,)`.
        """
        candidate = start
        for _ in range(self.threat.steps):
            candidate = self.threat.ascend(candidate, images, look(candidate, labels)[0])
        return candidate

    def check_classes(self, classes):
        """Raises `ValueError` where the loss is of no use with so many classes."""
        if self.loss == "dlr" and classes < 3:
            raise ValueError(f"loss='dlr' needs at least 3 classes; received {classes}; use 'ce'.")

    def check_layers(self, model):
        """Raises `ValueError` where a model's layers take no such derivative of spikes."""
        self._rule.check(model)

    def not_within_a_step(self):
        if self.threat.restarts > 1:
            return f"restarts={self.threat.restarts}; use restarts=1"
        if not defines_last(type(self), "climb", "__call__", "_craft", "_look", "_search"):
            return "one that does more than climb; use APGD, or override climb in your class"
        return None

    def _maximises(self):
        """What `objective` computes, as a hashable value; whoever overrides that, overrides this,
        or is compiled by itself."""
        return losses.LOSSES[self.loss], self.targeted

    def _craft(self, model, images, labels, seed):
        if self.loss == "dlr":
            self.check_classes(inference.class_count(model, images))
        return self._search(model, self._look(model), images, labels, seed)

    def _look(self, model):
        """A function `(x, y) -> (gradient, outputs)`, averaged over the samples."""
        return looking(self, model)

    def _search(self, model, look, images, labels, seed):
        """Adversarial images; `look(x, y)` gives the objective's gradient and the outputs."""
        worst, worst_success = None, None
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

    def _start(self, images, seed, restart):
        offset = self.offset(images, seed, restart)
        if offset is None:
            return images
        return self.threat.project(images + ops.convert_to_tensor(offset), images)
