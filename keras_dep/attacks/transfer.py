"""Transfer: images crafted on substitute models."""

from collections.abc import Sequence

import keras

from keras_dep._internal.export import export
from keras_dep._internal.types import Record
from keras_dep._internal.types import Tensor
from keras_dep.attacks import registry
from keras_dep.attacks.base import Attack

# Entries of a record that the attack on the substitutes does not have.
_ITS_OWN = ("crafted_by", "substitutes")


@export
class Transfer(Attack):
    """Crafts on each substitute and keeps, per image, the result closest to success on the target.

    Good substitutes share the data and the recipe and differ in seed, architecture or kind.

    Args:
        attack: the white-box attack on the substitutes, for example `MIFGSM()`.
        substitutes: one model or several, from the same images to the same classes.

    Raises:
        ValueError: no substitute, or an attack that is none of `keras_dep.attacks`.

    Source: Papernot et al., AsiaCCS 2017.

    Example:

    >>> import numpy as np
    >>> from keras_dep.attacks.fgsm import FGSM
    >>> one, two = (
    ...     keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]) for _ in range(2)
    ... )
    >>> x = np.full((3, 4), 0.5, "float32")
    >>> Transfer(FGSM(epsilon=0.1), one)(two, x, np.zeros(3, "int32")).shape
    (3, 4)
    """

    def __init__(self, attack: Attack, substitutes: keras.Model | Sequence[keras.Model]) -> None:
        substitutes = substitutes if isinstance(substitutes, (list, tuple)) else [substitutes]
        if not substitutes:
            raise ValueError("substitutes must be at least one model; received none.")
        if not isinstance(attack, Attack):
            raise ValueError(
                f"attack must be an attack of keras_dep.attacks; received {attack!r}; use MIFGSM()."
            )
        super().__init__(attack.threat, seed=attack.seed, targeted=attack.targeted)
        self.attack = attack
        self.substitutes = list(substitutes)

    def get_config(self) -> Record:
        return {
            **self.attack.get_config(),
            "attack": "Transfer",
            "crafted_by": type(self.attack).__name__,
            "substitutes": [model.name for model in self.substitutes],
        }

    @classmethod
    def from_config(cls, config: Record, substitutes: Sequence[keras.Model] = ()) -> Attack:
        """As in `Attack`; the substitutes are no part of a record.

        Args:
            config: the dictionary of `get_config`.
            substitutes: the models that the record names, in its order.

        Returns:
            The attack.

        Raises:
            ValueError: other models, or a dictionary that describes no such attack.
        """
        names = [model.name for model in substitutes]
        if names != list(config["substitutes"]):
            raise ValueError(
                f"substitutes must be the models {', '.join(config['substitutes'])} of the record; "
                f"received {', '.join(names) or 'none'}."
            )
        inner = {name: value for name, value in config.items() if name not in _ITS_OWN}
        return cls(registry.from_config({**inner, "attack": config["crafted_by"]}), substitutes)

    def _craft(
        self, model: keras.Model, images: Tensor, labels: Tensor, seed: int | Sequence[int]
    ) -> Tensor:
        crafted = (self.attack(each, images, labels, seed=seed) for each in self.substitutes)
        return self._closest(model, crafted, labels)
