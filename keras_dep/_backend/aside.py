"""Keeps frameworks out of a process in which another one computes."""

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
        sys.modules[name] = None  # type: ignore[assignment] # Python's sign for a failing import.
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def leave_out_tensorflow() -> None:
    """Keeps Keras from importing TensorFlow on torch and JAX, where it is installed beside them.

    Keras imports it, for seconds and with lines on the error output, to seed its generators and to
    ask whether what it saves is of a type of it. Once Keras has not found it, it does not look
    again. A process that has TensorFlow already, or imports it later, is as it was.
    """
    with absent("tensorflow"):
        keras.saving.serialize_keras_object(keras.initializers.Zeros())
