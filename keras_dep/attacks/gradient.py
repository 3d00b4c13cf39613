"""What the white-box attacks share: objectives, the call, and signed gradient ascent."""

import weakref

import numpy as np
from keras import ops

from keras_dep import _backend
from keras_dep.losses import mean_logits
from keras_dep.threat import Threat


def cross_entropy(labels, outputs):
    """Cross-entropy of the mean logits, per sample."""
    logits = mean_logits(outputs)
    return ops.sparse_categorical_crossentropy(ops.cast(labels, "int32"), logits, from_logits=True)


def logit_ratio(labels, outputs):
    """Difference of logits ratio, per sample, of the mean logits `z` of three classes or more.

    `(max of the wrong z - z_y) / (largest z - third largest z)`: unlike the cross-entropy it does
    not vanish where the network is sure of itself.
    """
    logits = mean_logits(outputs)
    largest = ops.top_k(logits, 3)[0]
    return _margin(logits, labels) / (largest[:, 0] - largest[:, 2] + 1e-12)


def ascend(gradient, start, images, labels, threat):
    """Signed ascent from `start`; `gradient(x, y)` is that of the summed objective.

    Pure: runs as well inside a compiled train step as outside of one.
    """
    candidate = threat.project(start, images)
    for _ in range(threat.steps):
        candidate = threat.ascend(candidate, images, gradient(candidate, labels))
    return candidate


def random_offset(threat, shape, seed):
    """Uniform draw in the L-infinity ball as float32 array; `seed` is an integer or a list."""
    draw = np.random.default_rng(seed).uniform(-1.0, 1.0, shape)
    return (threat.epsilon * draw).astype("float32")


class GradientAttack:
    """Base of the attacks: `attack(model, x, y) -> x_adv`.

    The gradient is that of `objective`, the cross-entropy of the mean logits unless said otherwise,
    through every time step, with the model in inference mode. Weights, statistics, metrics, random
    states and optimizer of the model are the same before and after. Random starts come from the
    attack's own seed: two calls agree.

    Args:
        threat: the `keras_dep.threat.Threat`.
        seed: seed of the random starts.
    """

    objective = staticmethod(cross_entropy)

    def __init__(self, threat: Threat, seed=0):
        self.threat = threat
        self.seed = seed

    def __call__(self, model, x, y, seed=None):
        """Crafts adversarial images.

        Args:
            model: a built `keras.Model` from images to logits `(batch, classes)` or
                `(batch, time, classes)`.
            x: images in the bounds of the threat, float, array or tensor.
            y: integer labels `(batch,)`.
            seed: replaces the attack's seed for this call.

        Returns:
            Images like `x`: a NumPy array for a NumPy array, else a tensor.

        Raises:
            ValueError: images outside the bounds, or labels that do not fit the images.
        """
        _check(x, y, self.threat.bounds)
        images = ops.convert_to_tensor(x, dtype="float32")
        labels = ops.convert_to_tensor(y, dtype="int32")
        look = _gradient_and_outputs(model, self.objective)
        states = [(v, ops.convert_to_numpy(v)) for v in _seed_states(model)]
        found = self._search(model, look, images, labels, self.seed if seed is None else seed)
        for variable, value in states:
            variable.assign(value)
        return ops.convert_to_numpy(found) if isinstance(x, np.ndarray) else found

    def _search(self, model, look, images, labels, seed):
        """Adversarial images; `look(x, y)` gives the objective's gradient and the outputs."""
        threat = self.threat

        def gradient(x, y):
            return look(x, y)[0]

        if not threat.random_start:
            return ascend(gradient, images, images, labels, threat)
        worst, worst_loss = None, None
        for restart in range(threat.restarts):
            offset = random_offset(threat, tuple(images.shape), [*np.atleast_1d(seed), restart])
            start = images + ops.convert_to_tensor(offset)
            found = ascend(gradient, start, images, labels, threat)
            if threat.restarts == 1:
                return found
            loss = _margin_loss(model, found, labels)
            if worst is None:
                worst, worst_loss = found, loss
                continue
            better = loss > worst_loss
            worst = choose(better, found, worst)
            worst_loss = ops.where(better, loss, worst_loss)
        return worst


def choose(mask, first, second):
    """Per image, that of `first` where `mask` holds, else that of `second`."""
    return ops.where(ops.reshape(mask, (-1,) + (1,) * (len(first.shape) - 1)), first, second)


_COMPILED = weakref.WeakKeyDictionary()


def _gradient_and_outputs(model, objective):
    """Compiled once per model and objective, for all attacks."""
    compiled = _COMPILED.setdefault(model, {})
    if objective not in compiled:
        # The cache must not keep its own key alive.
        compiled[objective] = _backend.gradient_and_outputs(weakref.proxy(model), objective)
    return compiled[objective]


def _margin_loss(model, images, labels):
    """Largest wrong logit minus the right one: positive exactly where the image fools the model."""
    return _margin(mean_logits(ops.convert_to_tensor(model.predict_on_batch(images))), labels)


def _margin(logits, labels):
    right = ops.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
    wrong = ops.max(ops.where(right > 0, -float("inf"), logits), axis=-1)
    return wrong - ops.sum(right * logits, axis=-1)


def _check(x, y, bounds):
    low, high = bounds
    if len(x) != len(y):
        raise ValueError(f"x and y must have one length; received {len(x)} and {len(y)}.")
    least, most = float(ops.min(x)), float(ops.max(x))
    if not (low <= least and most <= high):
        raise ValueError(
            f"Images must lie in [{low:g}, {high:g}]; received values from {least:.4g} to "
            f"{most:.4g}; scale them, and put normalisation inside the model."
        )


def _seed_states(model):
    return [v for v in model.non_trainable_variables if v.path.endswith("seed_generator_state")]
