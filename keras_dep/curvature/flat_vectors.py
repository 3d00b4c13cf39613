"""Flat vectors: seeded draws, inner products as float64 numbers, projection."""

from collections.abc import Iterable
from collections.abc import Sequence

import numpy as np
from keras import ops

from keras_dep import _backend
from keras_dep._internal.types import Tensor


class NotFinite(ValueError):
    """Raised for a product with infinite or NaN entries."""


def direction(generator: np.random.Generator, dimension: int, dtype: str) -> Tensor:
    """Draws a unit vector uniformly, the same on every backend."""
    # Rounded first, so that float32 and float64 get the same direction.
    draw = generator.standard_normal(dimension).astype("float32").astype(dtype)
    return ops.convert_to_tensor(draw / np.linalg.norm(draw), dtype=dtype)


def signs(generator: np.random.Generator, dimension: int, dtype: str) -> Tensor:
    """Draws a vector with entries 1 and -1."""
    return ops.convert_to_tensor(2.0 * generator.integers(0, 2, dimension) - 1, dtype=dtype)


def inner(one: Tensor, other: Tensor) -> float:
    """Inner product as a number.

    Raises:
        NotFinite: the product is not finite.
    """
    value = float(ops.sum(one * other))
    if not np.isfinite(value):
        raise NotFinite(
            f"The operator's product is not finite (received {value}); "
            "check the model for non-finite weights, inputs or loss."
        )
    return value


def norm(vector: Tensor) -> float:
    """Euclidean norm as a number; raises `NotFinite` as `inner` does."""
    return inner(vector, vector) ** 0.5


def orthogonalize(vector: Tensor, basis: list[Tensor]) -> Tensor:
    """Subtracts the projection on an orthonormal basis, twice, so that it holds to rounding."""
    return _backend.orthogonalize(vector, basis + basis)


def combination(weights: Iterable[float], basis: Sequence[Tensor]) -> Tensor:
    """Weighted sum of vectors."""
    return _backend.combination([float(weight) for weight in weights], basis)
