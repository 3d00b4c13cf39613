"""Extreme eigenvalues of a symmetric operator known only through its product with a vector."""

import dataclasses

import numpy as np
from keras import ops


@dataclasses.dataclass(frozen=True)
class Spectrum:
    """Ritz values of largest magnitude.

    Attributes:
        eigenvalues: float64 array, signed, largest magnitude first.
        residuals: float64 array, `||A q - theta q||` of each: some true eigenvalue lies within it.
        products: operator products spent.
    """

    eigenvalues: np.ndarray
    residuals: np.ndarray
    products: int

    @property
    def radius(self):
        """Spectral radius: the largest magnitude."""
        return float(np.abs(self.eigenvalues[0])) if len(self.eigenvalues) else 0.0

    @property
    def leading_share(self):
        """`|lambda_1| / sum_i |lambda_i|` over the values held; 0 when all vanish.

        The paper prints `lambda_1 / sum_i lambda_i`, which is no share once signs mix.
        """
        total = float(np.sum(np.abs(self.eigenvalues)))
        return self.radius / total if total else 0.0


def lanczos(product, dimension, count=5, tolerance=1e-3, max_steps=80, seed=0):
    """Eigenvalues of largest magnitude by Lanczos with full reorthogonalisation.

    Args:
        product: function from a float32 tensor `(dimension,)` to the operator's product with it.
        dimension: size of the operator, at least 1.
        count: how many eigenvalues, at least 1; fewer come back from a smaller operator.
        tolerance: stop once each of them has a residual below `tolerance * |lambda_1|`.
        max_steps: upper limit of products.
        seed: seed of the start vector, so that compared operators share it.

    Returns:
        A `Spectrum`.

    Raises:
        ValueError: a count below 1, or a product with non-finite entries.

    Source: Golub and Van Loan, Matrix Computations, chapter 10.

    Example:

    >>> scale = ops.array([3.0, -5.0, 1.0])
    >>> lanczos(lambda v: scale * v, dimension=3, count=2).eigenvalues.round(3).tolist()
    [-5.0, 3.0]
    """
    if dimension < 1 or count < 1:
        raise ValueError(
            f"dimension and count must be at least 1; received {dimension} and {count}."
        )
    start = np.random.default_rng(seed).standard_normal(dimension).astype("float32")
    vector = ops.convert_to_tensor(start / np.linalg.norm(start))
    basis, diagonal, off_diagonal = [], [], []
    while True:
        basis.append(vector)
        image = product(vector)
        alpha = float(ops.sum(image * vector))
        if not np.isfinite(alpha):
            raise ValueError(
                f"The operator's product is not finite (received {alpha}); "
                "check the model for non-finite weights, inputs or loss."
            )
        diagonal.append(alpha)
        # One vector at a time: a growing stack would be compiled anew at each step.
        for earlier in basis + basis:
            image = image - ops.sum(image * earlier) * earlier
        beta = float(ops.sqrt(ops.sum(ops.square(image))))
        values, residuals = _ritz(diagonal, off_diagonal, beta)
        scale = np.abs(values[0])
        exhausted = len(basis) >= min(dimension, max_steps) or beta <= 1e-6 * max(scale, 1e-30)
        wanted = residuals[:count]
        if exhausted or (len(wanted) == count and np.all(wanted <= tolerance * scale)):
            return Spectrum(values[:count], residuals[:count], len(basis))
        off_diagonal.append(beta)
        vector = image / beta


def _ritz(diagonal, off_diagonal, beta):
    tridiagonal = np.diag(diagonal) + np.diag(off_diagonal, 1) + np.diag(off_diagonal, -1)
    values, vectors = np.linalg.eigh(tridiagonal)
    order = np.argsort(-np.abs(values), kind="stable")
    return values[order], np.abs(beta * vectors[-1])[order]
