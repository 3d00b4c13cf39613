"""The attack that the paper's released code makes, which is not the one that it describes."""

import copy
import warnings

import keras
import numpy as np
from keras import ops

from keras_dep.attacks.gradient import Attack


class Released(Attack):
    """An attack on the normalised image and one time step, clamped to the range of pixels.

    Compared with the attack it wraps, the radius is in units of the normalised image, about a fifth
    of what it says; the result is clamped to [0, 1] there, which moves most pixels far more than
    the radius does, or none at all; and the loss sees the first time step alone. So its images lie
    in no ball around the originals, and no evaluation counts it. `Released(FGSM(epsilon=0))`
    is the clamp by itself, a control. The released code also carries the membrane from each step of
    the attack to the next; networks here have no state to carry.

    Args:
        attack: an `FGSM` or another gradient attack, with the radius as the released code has it.

    Raises:
        ValueError: at the call, a model that does not normalise its pixels.

    Source: released code of arXiv 2505.11134.

    Example:

    >>> from keras_dep.attacks.fgsm import FGSM
    >>> body = [keras.Input((4,)), keras.layers.Normalization(mean=0.5, variance=0.04)]
    >>> model = keras.Sequential([*body, keras.layers.Dense(2)])
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")
    ...     attack = Released(FGSM(epsilon=0))
    >>> attack(model, np.full((1, 4), 0.2, "float32"), np.zeros(1, "int32")).round(3).tolist()
    [[0.5, 0.5, 0.5, 0.5]]
    """

    def __init__(self, attack):
        warnings.warn(
            "Released attacks one time step of normalised, clamped images, as the paper's code "
            "does; its figures say nothing of robustness.",
            stacklevel=2,
        )
        super().__init__(attack.threat, seed=attack.seed, targeted=attack.targeted)
        self.attack = copy.copy(attack)
        self.attack.loss = "first_step"
        self._behind = None, None

    def get_config(self):
        return {
            **self.attack.get_config(),
            "attack": "Released",
            "crafted_by": type(self.attack).__name__,
            "norm": None,
            "epsilon": None,
            "normalized_epsilon": self.threat.epsilon,
        }

    def _craft(self, model, images, labels, seed):
        mean, std = pixel_statistics(model)
        if self._behind[0] is not model:
            inputs = keras.Input(model.input_shape[1:])
            self._behind = model, keras.Model(inputs, model(inputs * std + mean))
        mean, std = ops.convert_to_tensor(mean), ops.convert_to_tensor(std)
        found = self.attack._craft(self._behind[1], (images - mean) / std, labels, seed)
        return ops.clip(found * std + mean, *self.threat.bounds)


def pixel_statistics(model):
    """Mean and standard deviation by which a model normalises its pixels."""
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Normalization):
            values = (ops.convert_to_numpy(each) for each in (layer.mean, layer.variance))
            mean, variance = (np.asarray(value, "float32") for value in values)
            return mean, np.sqrt(variance)
    raise ValueError(
        f"model {model.name!r} has no Normalization layer; the released protocol needs one, as the "
        "models of keras_dep.models have."
    )
