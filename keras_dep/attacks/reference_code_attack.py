"""The attack that the paper's released code makes, which is not the one that it describes."""

import warnings

import keras
import numpy as np
from keras import ops

from keras_dep._internal import compilation
from keras_dep._internal import keras_internals
from keras_dep._internal.export import export
from keras_dep.attacks import registry
from keras_dep.attacks.base import Attack
from keras_dep.attacks.randomness import random_states_kept
from keras_dep.attacks.stateful_replay import StatefulReplay

# Of a record, what is not the wrapped attack's.
_ITS_OWN = ("crafted_by", "normalized_norm", "normalized_epsilon", "stale_state")


@export
class ReferenceCodeAttack(Attack):
    """An attack on the normalised image and one time step, clamped to the range of pixels.

    Compared with the attack it wraps, the radius is in units of the normalised image, about a fifth
    of what it says; the result is clamped to [0, 1] there, which moves most pixels far more than
    the radius does, or none at all; the loss sees a single time step; and no membrane is reset
    before the batch is done: each step of the attack meets what the one before has left, and so do
    the answers by which the released code counts (`answers`). So its images lie in no ball around
    the originals, and no evaluation counts it. `ReferenceCodeAttack(FGSM(epsilon=0))` is the clamp
    by itself, a control.

    Args:
        attack: an `FGSM` or another gradient attack with one start, with the radius as the released
            code has it.
        stale_state: keep the membranes from step to step; `False` for a control.

    Raises:
        ValueError: an attack of several starts or samples; at the call, a model that does not
            normalise its pixels or does not repeat its image.

    Source: released code of arXiv 2505.11134.

    Example:

    >>> from keras_dep.attacks.fgsm import FGSM
    >>> body = [keras.Input((4,)), keras.layers.Normalization(mean=0.5, variance=0.04)]
    >>> model = keras.Sequential([*body, keras.layers.Dense(2)])
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")
    ...     attack = ReferenceCodeAttack(FGSM(epsilon=0))
    >>> attack(model, np.full((1, 4), 0.2, "float32"), np.zeros(1, "int32")).round(3).tolist()
    [[0.5, 0.5, 0.5, 0.5]]
    """

    def __init__(self, attack, stale_state=True):
        warnings.warn(
            "Released attacks one time step of normalised, clamped images, as the paper's code "
            "does; its figures say nothing of robustness.",
            stacklevel=2,
        )
        if attack.threat.restarts > 1 or attack.samples > 1:
            raise ValueError(
                "attack must have one start and one sample, as the released code's; received "
                f"restarts={attack.threat.restarts}, samples={attack.samples}."
            )
        super().__init__(attack.threat, seed=attack.seed, targeted=attack.targeted)
        self.attack = attack
        self.stale_state = stale_state
        self._behind, self._replays = (None, None), {}

    def get_config(self):
        return {
            **self.attack.get_config(),
            "attack": "ReferenceCodeAttack",
            "crafted_by": type(self.attack).__name__,
            "norm": None,
            "epsilon": None,
            "normalized_norm": self.threat.norm,
            "normalized_epsilon": self.threat.epsilon,
            "stale_state": self.stale_state,
        }

    @classmethod
    def from_config(cls, config):
        inner = {name: value for name, value in config.items() if name not in _ITS_OWN}
        inner |= {name: config[f"normalized_{name}"] for name in ("norm", "epsilon")}
        inner = registry.from_config({**inner, "attack": config["crafted_by"]})
        return cls(inner, stale_state=config["stale_state"])

    def answers(self, model, x, y):
        """Logits for the images that this attack makes, from the membranes that it leaves.

        Arguments as in the call.

        Returns:
            Tensor `(batch, time, classes)`.
        """
        images, labels = self._checked(model, x, y, self.threat.bounds)
        with random_states_kept(model):
            found, seen = self._normalized(model, images, labels, self.seed)
            network = self._behind_normalization(model)
            steps = network.output_shape[1] if len(network.output_shape) == 3 else 1
            frames = [*seen, *[found] * steps]
            whole = self._replay(len(frames), steps)
            return whole.predict_on_batch(ops.stack(frames, axis=1))

    def _craft(self, model, images, labels, seed):
        mean, std = map(ops.convert_to_tensor, pixel_statistics(model))
        found, _ = self._normalized(model, images, labels, seed)
        return ops.clip(found * std + mean, *self.threat.bounds)

    def _normalized(self, model, images, labels, seed):
        """The normalised adversarial image, and every image that the network was shown for it."""
        mean, std = map(ops.convert_to_tensor, pixel_statistics(model))
        network, seen = self._behind_normalization(model), []

        def look(x, y):
            frames = [*seen, x]
            if self.stale_state:
                seen.append(x)
            replay = self._replay(len(frames), 1)
            slope, outputs = self.attack._look(replay)(ops.stack(frames, axis=1), y)
            return slope[:, -1], outputs

        found = self.attack._search(network, look, (images - mean) / std, labels, seed)
        return found, seen

    def _behind_normalization(self, model):
        now = compilation.constants(model)
        if self._behind[0] != now:
            mean, std = pixel_statistics(model)
            inputs = keras.Input(model.input_shape[1:])
            self._behind = now, keras.Model(inputs, model(inputs * std + mean))
            self._replays = {}
        return self._behind[1]

    def _replay(self, steps, read):
        # One model for each number of steps, as TensorFlow compiles a model for any shape at once.
        if (steps, read) not in self._replays:
            self._replays[steps, read] = StatefulReplay(self._behind[1], steps, read)
        return self._replays[steps, read]


def pixel_statistics(model):
    """Mean and standard deviation by which a model normalises its pixels."""
    for layer in keras_internals.all_layers(model):
        if isinstance(layer, keras.layers.Normalization):
            values = (ops.convert_to_numpy(each) for each in (layer.mean, layer.variance))
            mean, variance = (np.asarray(value, "float32") for value in values)
            return mean, np.sqrt(variance)
    raise ValueError(
        f"model {model.name!r} has no Normalization layer; the released protocol needs one, as the "
        "models of keras_dep.models have."
    )
