"""A decorator that registers a class or function with Keras' serialisation."""

from typing import Any

import keras

PACKAGE = "keras_dep"


def export(target: Any = None, *, formerly: str | None = None) -> Any:
    """Registers `target` under the fixed package name, so that saved files load on any backend.

    Args:
        target: a class or function with a `__name__`; that name becomes part of every saved file.
        formerly: its name in older files, if it was renamed.

    Returns:
        `target` itself, or a decorator if only `formerly` is given.

    Example:

    >>> @export
    ... class Scale(keras.layers.Layer):
    ...     pass
    >>> keras.saving.get_registered_name(Scale)
    'keras_dep>Scale'
    """
    if target is None:
        return lambda target: export(target, formerly=formerly)
    if formerly is not None:
        keras.saving.get_custom_objects()[f"{PACKAGE}>{formerly}"] = target
    return keras.saving.register_keras_serializable(package=PACKAGE)(target)
