"""The types that Keras gives to results."""

import contextlib

from keras.src.backend.common import dtypes


@contextlib.contextmanager
def doubles_kept():
    """Products of float64 are float64, which Keras has on TensorFlow alone."""
    # Read at each operation; there is no public door.
    narrowed = getattr(dtypes, "BIT64_TO_BIT32_DTYPE", {})
    if "float64" not in narrowed:
        raise RuntimeError("This version of Keras keeps its table of types elsewhere; use 3.15.")
    before = narrowed["float64"]
    narrowed["float64"] = "float64"
    try:
        yield
    finally:
        narrowed["float64"] = before
