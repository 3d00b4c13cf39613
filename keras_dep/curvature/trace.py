"""The trace of an operator by Hutch++."""

import dataclasses

import numpy as np

from keras_dep.curvature import flat_vectors
from keras_dep.curvature.lanczos import check_size
from keras_dep.curvature.precision import keeps_dtype


@dataclasses.dataclass(frozen=True)
class Trace:
    """An estimate of a trace.

    Attributes:
        value: the estimate, without bias.
        error: its standard error; 0 where it is exact, infinite from a single probe.
        products: operator products spent.
    """

    value: float
    error: float
    products: int


@keeps_dtype
def hutch_plus_plus(product, dimension, products=30, seed=0, dtype="float32"):
    """Trace: exact on a sketch of the operator's range, by random probes on the rest.

    A third of the products finds the range, a third takes its trace, a third probes what is left,
    which is little where few eigenvalues stand out.

    Args:
        product: function from a tensor `(dimension,)` to the operator's product with it.
        dimension: size of the operator, at least 1.
        products: products to spend, at least 3; fewer are where the dimension is smaller.
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
    basis = []
    for _ in range(sketched):
        image = product(flat_vectors.direction(generator, dimension, dtype))
        rest = flat_vectors.orthogonalize(image, basis)
        length = flat_vectors.norm(rest)
        # What rounding left of a direction already there is none.
        if length > 1e-5 * flat_vectors.norm(image):
            basis.append(rest / length)
    value = sum(flat_vectors.inner(product(direction), direction) for direction in basis)
    spent, probes = sketched + len(basis), []
    while spent < products and len(basis) < dimension:
        probe = flat_vectors.orthogonalize(flat_vectors.signs(generator, dimension, dtype), basis)
        probes.append(flat_vectors.inner(product(probe), probe))
        spent += 1
    if not probes:
        return Trace(value, 0.0, spent)
    spread = np.std(probes, ddof=1) if len(probes) > 1 else np.inf
    return Trace(value + float(np.mean(probes)), float(spread / len(probes) ** 0.5), spent)
