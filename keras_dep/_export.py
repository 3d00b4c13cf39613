"""One decorator that registers a class or function with Keras' serialisation."""

import keras

PACKAGE = "keras_dep"


def export(target):
    """Registers `target` under the fixed package name, so that saved files load on any backend.

    Args:
        target: a class or function with a `__name__`; that name becomes part of every saved file
            and must not change afterwards.

    Returns:
        `target` itself.

    Example:

    >>> @export
    ... class Scale(keras.layers.Layer):
    ...     pass
    >>> keras.saving.get_registered_name(Scale)
    'keras_dep>Scale'
    """
    return keras.saving.register_keras_serializable(package=PACKAGE)(target)
