"""Extreme eigenvalues by Lanczos, with a bound on the error of each."""

import dataclasses
from collections.abc import Callable

import numpy as np

from keras_dep import _backend
from keras_dep._internal import validation
from keras_dep._internal.types import Tensor
from keras_dep.curvature import flat_vectors as flat
from keras_dep.curvature.krylov import Krylov
from keras_dep.curvature.precision import keeps_dtype

WHICH: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "magnitude": lambda values: np.argsort(-np.abs(values), kind="stable"),
    "largest": lambda values: np.argsort(-values, kind="stable"),
    "smallest": lambda values: np.argsort(values, kind="stable"),
}


@dataclasses.dataclass(frozen=True)
class Spectrum:
    """Eigenvalues, in the requested order.

    Attributes:
        eigenvalues: float64 array, signed.
        residuals: float64 array, `||A q - theta q||` of each; a true eigenvalue lies within this
            distance.
        products: number of operator products taken.
        largest: the algebraically largest value found, `(value, residual)`.
        smallest: the algebraically smallest value found, `(value, residual)`.
        vectors: list of unit eigenvectors `(dimension,)`, tensors, or `None`.
    """

    eigenvalues: np.ndarray
    residuals: np.ndarray
    products: int
    largest: tuple[float, float]
    smallest: tuple[float, float]
    vectors: list[Tensor] | None = None

    @property
    def radius(self) -> float:
        """Spectral radius: the largest magnitude of an eigenvalue."""
        return float(np.max(np.abs(self.eigenvalues)))

    @property
    def leading_share(self) -> float:
        """`|lambda_1| / sum_i |lambda_i|` over `eigenvalues`; 0 if all are zero."""
        total = float(np.sum(np.abs(self.eigenvalues)))
        return self.radius / total if total else 0.0

    @property
    def printed_ratio(self) -> float:
        """`lambda_1 / sum_i lambda_i` over `eigenvalues`, as the paper prints it.

        With eigenvalues of both signs it is unbounded, and so no share. 0 if the sum is zero.
        """
        total = float(np.sum(self.eigenvalues))
        return float(self.eigenvalues[0]) / total if total else 0.0


@keeps_dtype
def lanczos(
    product: Callable[[Tensor], Tensor],
    dimension: int,
    count: int = 5,
    tolerance: float = 1e-3,
    max_steps: int = 80,
    seed: int = 0,
    which: str = "magnitude",
    vectors: bool = False,
    dtype: str = "float32",
) -> Spectrum:
    """Computes extreme eigenvalues by Lanczos with full reorthogonalisation.

    A multiple eigenvalue is found once, unless the Krylov space of the start vector is exhausted
    before `count` values are found.

    Args:
        product: function from a tensor `(dimension,)` to the operator's product with it.
        dimension: size of the operator, at least 1.
        count: number of eigenvalues, at least 1; a smaller operator gives fewer.
        tolerance: stop when each of them has a residual below `tolerance * |lambda_1|`.
        max_steps: largest number of products.
        seed: seed of the start vector; equal seeds give compared operators equal start vectors.
        which: `"magnitude"` for the largest magnitudes, `"largest"` for the algebraically largest,
            `"smallest"` for the algebraically smallest; in that order.
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
    validation.one_of("which", which, WHICH)
    krylov = Krylov(product, dimension, seed, dtype)
    limit = min(dimension, max(max_steps, 1))
    while True:
        krylov.advance()
        values, residuals, coordinates = krylov.ritz()
        chosen = WHICH[which](values)[:count]
        settled = residuals[chosen] <= tolerance * np.max(np.abs(values))
        enough = len(chosen) == min(count, dimension)
        done = len(krylov.basis) == limit or (enough and bool(np.all(settled)))
        if _backend.workers().of_chief(done):
            break
    return Spectrum(
        values[chosen],
        residuals[chosen],
        len(krylov.basis),
        (float(values[-1]), float(residuals[-1])),
        (float(values[0]), float(residuals[0])),
        [flat.combination(coordinates[:, i], krylov.basis) for i in chosen] if vectors else None,
    )


def check_size(dimension: int, count: int) -> None:
    """Raises `ValueError` unless both arguments are at least 1."""
    if dimension < 1 or count < 1:
        raise ValueError(
            f"dimension and count must be at least 1; received {dimension} and {count}."
        )
