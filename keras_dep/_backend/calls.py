"""The call that Keras is in."""

try:
    # There is no public door.
    from keras.src.backend.common import global_state
except ImportError:
    raise RuntimeError("This Keras keeps its call elsewhere; use 3.15.") from None


def outermost():
    """The layer or model that was called first, or `None` outside of a call."""
    return getattr(global_state.get_global_attribute("current_call_ctx"), "entry_layer", None)
