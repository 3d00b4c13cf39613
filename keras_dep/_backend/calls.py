"""The Keras call that is running."""

import sys
import types

import keras

from keras_dep._internal import keras_internals


def outermost() -> keras.layers.Layer | None:
    """The layer or model that was called first, or `None` outside of a call."""
    found = keras_internals.entry_layer()
    if not keras_internals.in_stateless_scope():
        return found
    # `stateless_call` runs a model without recording its call: Keras names the first layer inside.
    frame: types.FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code.co_name == "stateless_call":
            found = frame.f_locals.get("self", found)
        frame = frame.f_back
    return found
