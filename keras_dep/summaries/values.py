"""What callers hand over: numbers, tensors and steps, in the form that event files take."""

import operator
import textwrap

import keras
import numpy as np


def to_numpy(value):
    """A number, list or tensor as NumPy array."""
    # Tensors may sit on an accelerator or carry a gradient; other values need no help.
    if isinstance(value, (int, float, str, list, tuple, np.ndarray, np.generic)):
        return np.asarray(value)
    return keras.ops.convert_to_numpy(value)


def brief(value):
    """A value in at most 80 characters."""
    return textwrap.shorten(repr(value), 80)


def check_step(step, name):
    """A step as Python integer; raises `ValueError` where it is none."""
    try:
        number = -1 if isinstance(step, bool) else operator.index(step)
    except TypeError:
        number = -1
    if not 0 <= number < 2**63:
        raise ValueError(
            f"{name} must be an integer >= 0; received {brief(step)}; "
            "write for example int(optimizer.iterations)."
        )
    return number
