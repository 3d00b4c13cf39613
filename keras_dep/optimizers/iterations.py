"""The number of updates that an optimizer has made."""

import keras
from keras import ops


def iterations(optimizer: keras.optimizers.Optimizer) -> int:
    """The updates so far, as a Python number on every backend and under every strategy.

    TensorFlow's `int` refuses a variable that is mirrored over devices.

    Args:
        optimizer: a Keras optimizer.

    Example:

    >>> iterations(keras.optimizers.SGD())
    0
    """
    return int(ops.convert_to_numpy(optimizer.iterations))
