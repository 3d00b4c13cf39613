"""Attacks by the name in their record."""

from collections.abc import Sequence

import keras

from keras_dep._internal.types import Record
from keras_dep.attacks.base import Attack


def from_config(config: Record, substitutes: Sequence[keras.Model] = ()) -> Attack:
    """The attack that a record describes, such as those of a finished evaluation.

    Args:
        config: what an attack's `get_config` gave, also after a round trip through JSON. A class of
            your own is found once `keras.saving.register_keras_serializable` has registered it.
        substitutes: the models of a `Transfer`, which no record holds.

    Returns:
        An attack of the class that the record names.

    Raises:
        ValueError: no attack of that name, settings that describe none, or substitutes for an
            attack that takes none.

    Example:

    >>> from keras_dep.attacks import PGD
    >>> from_config(PGD(epsilon=0.1, steps=3).get_config()).threat.steps
    3
    """
    name = config.get("attack")
    found = {
        kind
        for kind in keras.saving.get_custom_objects().values()
        if isinstance(kind, type) and issubclass(kind, Attack) and kind.__name__ == name
    }
    if len(found) != 1:
        raise ValueError(
            f"attack must be the name of one registered attack; received {name!r}, the name of "
            f"{len(found)}; register a class with keras.saving.register_keras_serializable."
        )
    (kind,) = found
    if not substitutes:
        return kind.from_config(config)
    if "substitutes" not in config:
        raise ValueError(
            f"substitutes must be none for a {name}; received {len(substitutes)}; give them to the "
            "record of a Transfer."
        )
    return kind.from_config(config, substitutes=substitutes)  # type: ignore[call-arg]
