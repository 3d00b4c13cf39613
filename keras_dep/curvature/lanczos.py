"""Extreme eigenvalues by Lanczos, with a bound on the error of each."""

import dataclasses

import numpy as np

from keras_dep.curvature import flat_vectors as flat
from keras_dep.curvature.krylov import Krylov
from keras_dep.curvature.precision import keeps_dtype

WHICH = {
    "magnitude": lambda values: np.argsort(-np.abs(values), kind="stable"),
    "largest": lambda values: np.argsort(-values, kind="stable"),
    "smallest": lambda values: np.argsort(values, kind="stable"),
}


@dataclasses.dataclass(frozen=True)
class Spectrum:
    """Eigenvalues found, in the order asked for.

    Attributes:
        eigenvalues: float64 array, signed.
        residuals: float64 array, `||A q - theta q||` of each: some true eigenvalue lies within it.
        products: operator products spent.
        largest: the algebraically largest value met, `(value, residual)`.
        smallest: the algebraically smallest value met, `(value, residual)`.
        vectors: list of unit eigenvectors `(dimension,)`, tensors; `None` unless asked for.
    """

    eigenvalues: np.ndarray
    residuals: np.ndarray
    products: int
    largest: tuple
    smallest: tuple
    vectors: list | None = None

    @property
    def radius(self):
        """Spectral radius: the largest magnitude."""
        return float(np.max(np.abs(self.eigenvalues)))

    @property
    def leading_share(self):
        """`|lambda_1| / sum_i |lambda_i|` over the values held; 0 when all vanish."""
        total = float(np.sum(np.abs(self.eigenvalues)))
        return self.radius / total if total else 0.0

    @property
    def printed_ratio(self):
        """`lambda_1 / sum_i lambda_i` over the values held, as the paper prints it.

        Where signs mix this is no share: it has no bound. 0 when the sum vanishes.
        """
        total = float(np.sum(self.eigenvalues))
        return float(self.eigenvalues[0]) / total if total else 0.0


@keeps_dtype
def lanczos(
    product,
    dimension,
    count=5,
    tolerance=1e-3,
    max_steps=80,
    seed=0,
    which="magnitude",
    vectors=False,
    dtype="float32",
):
    """Extreme eigenvalues by Lanczos with full reorthogonalisation.

    An eigenvalue that occurs several times is found once, unless the space of the start vector
    closes before `count` values are there.

    Args:
        product: function from a tensor `(dimension,)` to the operator's product with it.
        dimension: size of the operator, at least 1.
        count: how many eigenvalues, at least 1; fewer come back from a smaller operator.
        tolerance: stop once each of them has a residual below `tolerance * |lambda_1|`.
        max_steps: upper limit of products.
        seed: seed of the start vector, so that compared operators share it.
        which: `"magnitude"` for largest magnitude first, `"largest"` for algebraically largest
            first, `"smallest"` for algebraically smallest first.
        vectors: whether to compute eigenvectors.
        dtype: dtype of the vectors, `"float32"` or `"float64"`; numbers are float64.

    Returns:
        A `Spectrum`.

    Raises:
        ValueError: an argument outside its limits, or a product with non-finite entries.

    Source: Golub and Van Loan, Matrix Computations, chapter 10.

    Example:

    >>> from keras import ops
    >>> scale = ops.array([3.0, -5.0, 1.0])
    >>> lanczos(lambda v: scale * v, dimension=3, count=2).eigenvalues.round(3).tolist()
    [-5.0, 3.0]
    """
    check_size(dimension, count)
    if which not in WHICH:
        raise ValueError(f"which must be one of {', '.join(WHICH)}; received {which!r}.")
    krylov = Krylov(product, dimension, seed, dtype)
    limit = min(dimension, max(max_steps, 1))
    while True:
        krylov.advance()
        values, residuals, coordinates = krylov.ritz()
        chosen = WHICH[which](values)[:count]
        settled = residuals[chosen] <= tolerance * np.max(np.abs(values))
        enough = len(chosen) == min(count, dimension)
        if len(krylov.basis) == limit or (enough and np.all(settled)):
            break
    return Spectrum(
        values[chosen],
        residuals[chosen],
        len(krylov.basis),
        (float(values[-1]), float(residuals[-1])),
        (float(values[0]), float(residuals[0])),
        [flat.combination(coordinates[:, i], krylov.basis) for i in chosen] if vectors else None,
    )


def check_size(dimension, count):
    if dimension < 1 or count < 1:
        raise ValueError(
            f"dimension and count must be at least 1; received {dimension} and {count}."
        )
