"""The Lanczos process: a symmetric operator as a growing tridiagonal matrix."""

from collections.abc import Callable

import numpy as np

from keras_dep import _backend
from keras_dep._internal.types import Array
from keras_dep._internal.types import Tensor
from keras_dep.curvature import flat_vectors

# Norm, relative to the operator's scale, below which the rest of a product is rounding error.
EXHAUSTED = {"float32": 1e-6, "float64": 1e-13}


class Krylov:
    """An orthonormal basis and a tridiagonal matrix that grow by one product at a time.

    Every new direction is orthogonalised against all earlier ones. If the basis spans an invariant
    space, as for a multiple of the identity, the process continues with a random direction
    orthogonal to it.

    Args:
        product: function from a tensor `(dimension,)` to the operator's product with it.
        dimension: size of the operator, and largest number of products.
        seed: seed of the start vector and of later random ones, for `numpy.random.default_rng`.
        dtype: dtype of the vectors, `"float32"` or `"float64"`.

    Attributes:
        basis: list of orthonormal vectors `(dimension,)`.

    Source: Golub and Van Loan, Matrix Computations, chapter 10.
    """

    def __init__(
        self,
        product: Callable[[Tensor], Tensor],
        dimension: int,
        seed: int | list[int],
        dtype: str,
    ) -> None:
        self.product = product
        self.dimension = dimension
        self.dtype = dtype
        self.basis: list[Tensor] = []
        self._generator = np.random.default_rng(seed)
        self._next = flat_vectors.direction(self._generator, dimension, dtype)
        self._diagonal: list[float] = []
        self._off_diagonal: list[float] = []

    def advance(self) -> None:
        """Takes one product and extends the basis.

        Raises:
            ValueError: the product is not finite.
        """
        direction = self._next
        self.basis.append(direction)
        image = self.product(direction)
        self._diagonal.append(flat_vectors.inner(image, direction))
        rest = flat_vectors.orthogonalize(image, self.basis)
        length = _backend.workers().of_chief(flat_vectors.norm(rest))
        scale = max(np.abs(self._diagonal + self._off_diagonal))
        if length > EXHAUSTED[self.dtype] * scale:
            self._next = rest / length
        else:
            length = 0.0
            self._next = self._outside()
        self._off_diagonal.append(length)

    def ritz(self) -> tuple[Array, Array, Array]:
        """Computes the Ritz values.

        Returns:
            `(values, residuals, coordinates)`: ascending values `(k,)`, their error bounds `(k,)`,
            and the coordinates of the Ritz vectors in the basis, one per column, `(k, k)`.
        """
        inside = self._off_diagonal[:-1]
        matrix = np.diag(self._diagonal) + np.diag(inside, 1) + np.diag(inside, -1)
        values, coordinates = np.linalg.eigh(matrix)
        return values, np.abs(self._off_diagonal[-1] * coordinates[-1]), coordinates

    def _outside(self) -> Tensor | None:
        if len(self.basis) == self.dimension:
            return None
        fresh = flat_vectors.direction(self._generator, self.dimension, self.dtype)
        fresh = flat_vectors.orthogonalize(fresh, self.basis)
        return fresh / flat_vectors.norm(fresh)
