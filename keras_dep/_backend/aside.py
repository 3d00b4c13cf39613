"""Keeps frameworks that are not the chosen backend out of the process."""

import contextlib
import sys
from collections.abc import Generator

import keras

FRAMEWORKS = ("torch", "tensorflow", "jax")


@contextlib.contextmanager
def absent(*names: str) -> Generator[None, None, None]:
    """Makes imports of frameworks fail in the block, as if they were not installed.

    The chosen framework and those imported already stay.

    Args:
        names: modules.

    Yields:
        Nothing.
    """
    hidden = [n for n in names if n not in sys.modules and n != keras.backend.backend()]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment] # `None` makes an import fail.
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def leave_out_tensorflow() -> None:
    """Keeps Keras from importing TensorFlow on torch and JAX, where it is installed beside them.

    Keras imports it to seed its generators and to recognise its types while saving. That takes
    seconds and logs to the error output. Keras does not retry an import that failed once. A process
    that has imported TensorFlow already, or imports it later, is not affected.
    """
    with absent("tensorflow"):
        keras.saving.serialize_keras_object(keras.initializers.Zeros())
