"""Power iteration as PyHessian does it, for figures that compare with published ones."""

import numpy as np
from keras import ops

from keras_dep.curvature import flat_vectors as flat
from keras_dep.curvature.lanczos import Spectrum
from keras_dep.curvature.lanczos import check_size
from keras_dep.curvature.precision import keeps_dtype

TINY = 1e-6


@keeps_dtype
def power_iteration(
    product,
    dimension,
    count=5,
    tolerance=1e-3,
    max_steps=100,
    seed=0,
    dtype="float32",
    starts=None,
):
    """Eigenvalues of largest magnitude, one after the other, by power iteration with deflation.

    The algorithm, stopping rule and defaults of PyHessian's `eigenvalues`. It stops where two
    Rayleigh quotients agree to the tolerance, which says nothing about the error: where two
    eigenvalues compete it may stop far from either. The residuals tell; prefer `lanczos`.

    Args:
        product: function from a tensor `(dimension,)` to the operator's product with it.
        dimension: size of the operator, at least 1.
        count: how many eigenvalues, at least 1; fewer come back from a smaller operator.
        tolerance: relative change of the Rayleigh quotient at which an eigenvalue counts as found.
        max_steps: upper limit of products for each eigenvalue.
        seed: seed of the start vectors.
        dtype: dtype of the vectors.
        starts: start vectors to use instead, as many as `count`.

    Returns:
        A `keras_dep.curvature.Spectrum` in the order found, signed, with the residual that each
        value has at the last vector but one.

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
    values, residuals, found, products = [], [], [], 0
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
    values, residuals = np.array(values), np.array(residuals)
    high, low = np.argmax(values), np.argmin(values)
    return Spectrum(
        values,
        residuals,
        products,
        (float(values[high]), float(residuals[high])),
        (float(values[low]), float(residuals[low])),
        found,
    )


def _settle(product, vector, found, tolerance, max_steps):
    """`(value, next vector, residual, products)` of one eigenvalue."""
    value = None
    for products in range(1, max_steps + 1):  # noqa: B007
        for earlier in found:
            vector = vector - ops.sum(vector * earlier) * earlier
        vector = _unit(vector)
        image = product(vector)
        quotient = flat.inner(image, vector)
        settled = value is not None and abs(value - quotient) / (abs(value) + TINY) < tolerance
        # The peer keeps the quotient before the last.
        value = value if settled else quotient
        residual = flat.norm(image - value * vector)
        vector = _unit(image)
        if settled:
            break
    return value, vector, residual, products


def _unit(vector):
    return vector / (flat.norm(vector) + TINY)
