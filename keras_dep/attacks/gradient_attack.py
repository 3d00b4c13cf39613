"""What the white-box attacks share: the call, the gradient, and signed gradient ascent."""

import zlib

import numpy as np
from keras import ops

from keras_dep._internal import compilation
from keras_dep._internal import validation
from keras_dep.attacks import gradient_estimators
from keras_dep.attacks import losses
from keras_dep.attacks import record
from keras_dep.attacks.looking import defines_last
from keras_dep.attacks.looking import looking
from keras_dep.attacks.looking import random_states_kept
from keras_dep.attacks.threat import Threat
from keras_dep.models import inference


def random_offset(threat, images, seed):
    """Offsets from inside the ball as float32 array; see `Threat.inside` and `image_draws`."""
    shape = tuple(images.shape[1:])
    draws = [threat.inside(draw, shape) for draw in image_draws(images, seed)]
    return np.stack(draws).astype("float32")


def image_draws(images, seed):
    """One random generator per image, by its pixels: an image draws the same in every batch.

    Args:
        images: array or tensor `(n, ...)`.
        seed: an integer or a list of integers.

    Returns:
        List of `numpy.random.Generator`.
    """
    pixels = np.ascontiguousarray(ops.convert_to_numpy(images), "float32")
    seed = [int(part) for part in np.atleast_1d(seed)]
    return [np.random.default_rng([zlib.crc32(image.tobytes()), *seed]) for image in pixels]


class Attack:
    """Base of all attacks: `attack(model, x, y) -> x_adv`.

    The model is asked in inference mode. Its weights, statistics, metrics, random states and
    optimizer are the same before and after. What an attack draws comes from its own seed and the
    pixels of each image: two calls agree, and so do an image alone and in a batch.

    Args:
        threat: the `keras_dep.attacks.threat.Threat`.
        seed: seed of the draws.
        targeted: labels name the class to be reached instead of the one to be left.
    """

    def __init__(self, threat: Threat, *, seed=0, targeted=False):
        self.threat = threat
        self.seed = validation.checked_seed(seed)
        self.targeted = targeted

    def __call__(self, model, x, y, seed=None, spare_errors=False):
        """Crafts adversarial images.

        Args:
            model: a built `keras.Model` from images to logits `(batch, classes)` or
                `(batch, time, classes)`.
            x: images in the bounds of the threat, array or tensor, at least one.
            y: labels, the true classes or the wanted ones of a targeted attack: whole numbers
                `(batch,)` or `(batch, 1)`, or one-hot rows `(batch, classes)`.
            seed: replaces the attack's seed for this call, an integer or a list.
            spare_errors: leave images unchanged on which the attacker has nothing left to do, the
                model being wrong already, or at the target.

        Returns:
            Images like `x`: a NumPy array for a NumPy array, else a tensor.

        Raises:
            ValueError: images that are not finite or outside the bounds, labels that do not fit the
                images or the classes of the model, or a model that answers no logits.
        """
        seed = self.seed if seed is None else validation.checked_seed(seed)
        images, labels = self._checked(model, x, y, self.threat.bounds)
        with random_states_kept(model):
            found = self._craft(model, images, labels, seed)
            if spare_errors:
                found = choose(self._ask(model, images, labels) > 0, images, found)
        return ops.convert_to_numpy(found) if isinstance(x, np.ndarray) else found

    def get_config(self):
        """What decides the attack, as a dictionary that JSON keeps; see `from_config`."""
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
    def from_config(cls, config):
        """The attack that `get_config` describes, also as JSON has kept it.

        Raises:
            ValueError: a dictionary that describes no attack of this class.
        """
        return record.rebuilt(cls, config)

    def not_within_a_step(self):
        """What keeps the attack from running within a train step, as a clause, or `None`."""
        return "one that asks the model between its moves; use a gradient attack, as PGD"

    def success(self, labels, outputs):
        """By how much answers are what the attacker wants, per sample: fooled where positive."""
        return losses.success(self.targeted, labels, outputs)

    def _checked(self, model, x, y, bounds):
        """Images and labels `(batch,)` as tensors, for a model as it is now."""
        compilation.heed_changes(model)
        images, _ = validation.images_and_labels(x, y, bounds=bounds)
        with random_states_kept(model):
            classes = inference.class_count(model, images)
        labels = validation.class_labels(y, classes)
        return ops.convert_to_tensor(images), ops.convert_to_tensor(labels)

    def _closest(self, model, candidates, labels):
        """Per image, the first of the candidates that succeeds, else the one closest to it."""
        best = success = None
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

    def _ask(self, model, images, labels):
        return self.success(labels, ops.convert_to_tensor(model.predict_on_batch(images)))


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


def choose(mask, first, second):
    """Per image, that of `first` where `mask` holds, else that of `second`."""
    return ops.where(ops.reshape(mask, (-1,) + (1,) * (len(first.shape) - 1)), first, second)
