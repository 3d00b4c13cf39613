"""Black box by substitute: images made for other models."""

from keras_dep._internal.export import export
from keras_dep.attacks import registry
from keras_dep.attacks.base import Attack

# Of a record, what is not the attack's on the substitutes.
_ITS_OWN = ("crafted_by", "substitutes")


@export
class Transfer(Attack):
    """Crafts on each substitute and keeps, per image, what comes closest to success on the target.

    Good substitutes share the data and the recipe and differ in seed, architecture or kind.

    Args:
        attack: the white-box attack on the substitutes, for example `MIFGSM()`.
        substitutes: one model or several, from the same images to the same classes.

    Raises:
        ValueError: no substitute.

    Source: Papernot et al., AsiaCCS 2017.

    Example:

    >>> import keras, numpy as np
    >>> from keras_dep.attacks.fgsm import FGSM
    >>> one, two = (
    ...     keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]) for _ in range(2)
    ... )
    >>> x = np.full((3, 4), 0.5, "float32")
    >>> Transfer(FGSM(epsilon=0.1), one)(two, x, np.zeros(3, "int32")).shape
    (3, 4)
    """

    def __init__(self, attack, substitutes):
        substitutes = substitutes if isinstance(substitutes, (list, tuple)) else [substitutes]
        if not substitutes:
            raise ValueError("substitutes must be at least one model; received none.")
        super().__init__(attack.threat, seed=attack.seed, targeted=attack.targeted)
        self.attack = attack
        self.substitutes = list(substitutes)

    def get_config(self):
        return {
            **self.attack.get_config(),
            "attack": "Transfer",
            "crafted_by": type(self.attack).__name__,
            "substitutes": [model.name for model in self.substitutes],
        }

    @classmethod
    def from_config(cls, config, substitutes=()):
        """As in `Attack`; the models to transfer from are no part of a record."""
        names = [model.name for model in substitutes]
        if names != list(config["substitutes"]):
            raise ValueError(
                f"substitutes must be the models {', '.join(config['substitutes'])} of the record; "
                f"received {', '.join(names) or 'none'}."
            )
        inner = {name: value for name, value in config.items() if name not in _ITS_OWN}
        return cls(registry.from_config({**inner, "attack": config["crafted_by"]}), substitutes)

    def _craft(self, model, images, labels, seed):
        crafted = (self.attack(each, images, labels, seed=seed) for each in self.substitutes)
        return self._closest(model, crafted, labels)
