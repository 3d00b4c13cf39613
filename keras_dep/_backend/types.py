"""The types that Keras gives to results."""

import contextlib


@contextlib.contextmanager
def doubles_kept():
    """Products of float64 are float64, which Keras has on TensorFlow alone."""
    try:
        # Read at each operation; there is no public door.
        from keras.src.backend.common.dtypes import BIT64_TO_BIT32_DTYPE as narrowed

        before = narrowed["float64"]
    except (ImportError, KeyError):
        raise RuntimeError("This Keras has its table of types elsewhere; use 3.15.") from None
    narrowed["float64"] = "float64"
    try:
        yield
    finally:
        narrowed["float64"] = before
