"""Keeps TensorFlow out of a process in which another framework computes."""

import sys

import keras

NAME = "tensorflow"


def leave_out_tensorflow():
    """Keeps Keras from importing TensorFlow on torch and JAX, where it is installed beside them.

    Keras imports it, for seconds and with lines on the error output, to seed its generators and to
    ask whether what it saves is of a type of it. Once Keras has not found it, it does not look
    again. A process that has TensorFlow already, or imports it later, is as it was.
    """
    if keras.backend.backend() == NAME or NAME in sys.modules:
        return
    sys.modules[NAME] = None  # an import of it now fails
    try:
        keras.saving.serialize_keras_object(keras.initializers.Zeros())
    finally:
        del sys.modules[NAME]
