"""The call that Keras is in."""

import sys

try:
    # There is no public door.
    from keras.src.backend.common import global_state
except ImportError:
    raise RuntimeError("This Keras keeps its call elsewhere; use 3.15.") from None


def outermost():
    """The layer or model that was called first, or `None` outside of a call."""
    found = getattr(global_state.get_global_attribute("current_call_ctx"), "entry_layer", None)
    if global_state.get_global_attribute("stateless_scope") is None:
        return found
    # `stateless_call` enters a model past the record of calls: what it calls next is first there.
    frame = sys._getframe()
    while frame is not None:
        if frame.f_code.co_name == "stateless_call":
            found = frame.f_locals.get("self", found)
        frame = frame.f_back
    return found
