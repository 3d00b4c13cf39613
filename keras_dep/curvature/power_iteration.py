"""Power iteration as in PyHessian, for comparison with published figures."""

import math
from collections.abc import Callable
from collections.abc import Sequence

import numpy as np
from keras import ops

from keras_dep import _backend
from keras_dep._internal.types import Tensor
from keras_dep.curvature import flat_vectors as flat
from keras_dep.curvature.lanczos import Spectrum
from keras_dep.curvature.lanczos import check_size
from keras_dep.curvature.precision import keeps_dtype

TINY = 1e-6


@keeps_dtype
def power_iteration(
    product: Callable[[Tensor], Tensor],
    dimension: int,
    count: int = 5,
    tolerance: float = 1e-3,
    max_steps: int = 100,
    seed: int = 0,
    dtype: str = "float32",
    starts: Sequence[Tensor] | None = None,
) -> Spectrum:
    """Computes eigenvalues of largest magnitude, one by one, by power iteration with deflation.

    Algorithm, stopping rule and defaults are those of PyHessian's `eigenvalues`. It stops when two
    successive Rayleigh quotients agree to the tolerance, which does not bound the error: if two
    eigenvalues have similar magnitudes, it may stop far from both. Check the residuals, or use
    `lanczos`.

    Args:
        product: function from a tensor `(dimension,)` to the operator's product with it.
        dimension: size of the operator, at least 1.
        count: number of eigenvalues, at least 1; a smaller operator gives fewer.
        tolerance: relative change of the Rayleigh quotient at which the iteration stops.
        max_steps: largest number of products for each eigenvalue.
        seed: seed of the start vectors.
        dtype: dtype of the vectors.
        starts: `count` start vectors `(dimension,)`, in place of random ones.

    Returns:
        A `keras_dep.curvature.Spectrum` in the order found, signed, with the residual of each value
        at the last vector but one.

    Raises:
        ValueError: an argument outside its limits, or a product with non-finite entries.

    Source: Yao et al. 2020 (PyHessian), release 0.1.

    Example:

    >>> scale = ops.array([3.0, -5.0, 1.0])
    >>> found = power_iteration(lambda v: scale * v, dimension=3, count=2, tolerance=1e-6)
    >>> found.eigenvalues.round(2).tolist()
    [-5.0, 3.0]
    """
    check_size(dimension, count)
    generator = np.random.default_rng(seed)
    values, residuals, products = [], [], 0
    found: list[Tensor] = []
    for index in range(min(count, dimension)):
        if starts is None:
            vector = flat.direction(generator, dimension, dtype)
        else:
            vector = ops.convert_to_tensor(starts[index], dtype=dtype)
        value, vector, residual, steps = _settle(
            product, _unit(vector), found, tolerance, max(max_steps, 1)
        )
        values.append(value)
        residuals.append(residual)
        found.append(vector)
        products += steps
    high, low = int(np.argmax(values)), int(np.argmin(values))
    return Spectrum(
        np.array(values),
        np.array(residuals),
        products,
        (float(values[high]), float(residuals[high])),
        (float(values[low]), float(residuals[low])),
        found,
    )


def _settle(
    product: Callable[[Tensor], Tensor],
    vector: Tensor,
    found: list[Tensor],
    tolerance: float,
    max_steps: int,
) -> tuple[float, Tensor, float, int]:
    """`(value, next vector, residual, products)` of one eigenvalue."""
    value = math.nan
    for products in range(1, max_steps + 1):  # noqa: B007
        for earlier in found:
            vector = vector - ops.sum(vector * earlier) * earlier
        vector = _unit(vector)
        image = product(vector)
        quotient = flat.inner(image, vector)
        # False in the first step, where the value is NaN.
        settled = _backend.workers().of_chief(
            abs(value - quotient) / (abs(value) + TINY) < tolerance
        )
        # PyHessian keeps the quotient before the last.
        value = value if settled else quotient
        residual = flat.norm(image - value * vector)
        vector = _unit(image)
        if settled:
            break
    return value, vector, residual, products


def _unit(vector: Tensor) -> Tensor:
    return vector / (flat.norm(vector) + TINY)
