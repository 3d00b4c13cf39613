"""One decorator that registers a class or function with Keras' serialisation."""

import keras

PACKAGE = "keras_dep"


def export(target=None, *, formerly=None):
    """Registers `target` under the fixed package name, so that saved files load on any backend.

    Args:
        target: a class or function with a `__name__`; that name becomes part of every saved file.
        formerly: the name that older files hold for it, if it was renamed.

    Returns:
        `target` itself, or a decorator where only `formerly` is given.

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
