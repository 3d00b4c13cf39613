"""The trace of an operator by Hutch++."""

import dataclasses
from collections.abc import Callable

import numpy as np

from keras_dep import _backend
from keras_dep._internal.types import Tensor
from keras_dep.curvature import flat_vectors
from keras_dep.curvature.lanczos import check_size
from keras_dep.curvature.precision import keeps_dtype


@dataclasses.dataclass(frozen=True)
class Trace:
    """An estimate of a trace.

    Attributes:
        value: unbiased estimate.
        error: standard error; 0 if the estimate is exact, infinite for a single probe.
        products: number of operator products taken.
    """

    value: float
    error: float
    products: int


@keeps_dtype
def hutch_plus_plus(
    product: Callable[[Tensor], Tensor],
    dimension: int,
    products: int = 30,
    seed: int = 0,
    dtype: str = "float32",
) -> Trace:
    """Estimates a trace: exactly on a sketch of the range, by random probes on its complement.

    A third of the products sketches the range, a third computes the trace on it, and a third probes
    the complement, which has little weight if few eigenvalues dominate.

    Args:
        product: function from a tensor `(dimension,)` to the operator's product with it.
        dimension: size of the operator, at least 1.
        products: number of products, at least 3; a small dimension takes fewer.
        seed: seed of the random vectors.
        dtype: dtype of the vectors.

    Returns:
        A `Trace`.

    Raises:
        ValueError: an argument outside its limits, or a product with non-finite entries.

    Source: Meyer et al. 2021.

    Example:

    >>> from keras import ops
    >>> scale = ops.array([3.0, -5.0, 1.0])
    >>> round(hutch_plus_plus(lambda v: scale * v, dimension=3, products=9).value, 3)
    -1.0
    """
    check_size(dimension, 1)
    if products < 3:
        raise ValueError(f"products must be at least 3; received {products}.")
    generator = np.random.default_rng(seed)
    sketched = min(products // 3, dimension)
    basis: list[Tensor] = []
    for _ in range(sketched):
        image = product(flat_vectors.direction(generator, dimension, dtype))
        rest = flat_vectors.orthogonalize(image, basis)
        length = _backend.workers().of_chief(flat_vectors.norm(rest))
        # A short rest is rounding error of a direction in the basis.
        if length > 1e-5 * flat_vectors.norm(image):
            basis.append(rest / length)
    value = sum((flat_vectors.inner(product(unit), unit) for unit in basis), 0.0)
    spent, probes = sketched + len(basis), []
    while spent < products and len(basis) < dimension:
        probe = flat_vectors.orthogonalize(flat_vectors.signs(generator, dimension, dtype), basis)
        probes.append(flat_vectors.inner(product(probe), probe))
        spent += 1
    if not probes:
        return Trace(value, 0.0, spent)
    spread = np.std(probes, ddof=1) if len(probes) > 1 else np.inf
    return Trace(value + float(np.mean(probes)), float(spread / len(probes) ** 0.5), spent)
