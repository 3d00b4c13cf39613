"""Flat vectors: seeded draws, inner products as float64 numbers, projection."""

import numpy as np
from keras import ops

from keras_dep import _backend


class NotFinite(ValueError):
    """A product with infinite or NaN entries."""


def direction(generator, dimension, dtype):
    """A uniformly drawn unit vector, the same on every backend."""
    # Rounded first, so that both precisions start from one direction, and to unit length in each.
    draw = generator.standard_normal(dimension).astype("float32").astype(dtype)
    return ops.convert_to_tensor(draw / np.linalg.norm(draw), dtype=dtype)


def signs(generator, dimension, dtype):
    """A draw of entries 1 and -1."""
    return ops.convert_to_tensor(2.0 * generator.integers(0, 2, dimension) - 1, dtype=dtype)


def inner(one, other):
    """Inner product as a number.

    Raises:
        NotFinite: it is not finite.
    """
    value = float(ops.sum(one * other))
    if not np.isfinite(value):
        raise NotFinite(
            f"The operator's product is not finite (received {value}); "
            "check the model for non-finite weights, inputs or loss."
        )
    return value


def norm(vector):
    """Euclidean length as a number; raises as `inner` does."""
    return inner(vector, vector) ** 0.5


def orthogonalize(vector, basis):
    """The vector less its projection on an orthonormal basis, to the last bits."""
    return _backend.orthogonalize(vector, basis + basis)


def combination(weights, basis):
    """The sum of some vectors, each times its weight."""
    return _backend.combination([float(weight) for weight in weights], basis)
