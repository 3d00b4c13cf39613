"""Lanczos' process: a symmetric operator as a growing tridiagonal matrix."""

import numpy as np

from keras_dep.curvature import flat_vectors

# Length, relative to the operator's scale, below which what is left of an image is rounding.
EXHAUSTED = {"float32": 1e-6, "float64": 1e-13}


class Krylov:
    """The orthonormal basis and the tridiagonal matrix, grown by one product at a time.

    Every new direction is orthogonalised against all earlier ones. Where the space closes, as for
    a multiple of the identity, the process goes on from a fresh direction outside of it.

    Args:
        product: function from a tensor `(dimension,)` to the operator's product with it.
        dimension: size of the operator, the most products that can be taken.
        seed: seed of the start vector and of fresh ones, as `numpy.random.default_rng` takes it.
        dtype: dtype of the vectors, `"float32"` or `"float64"`.

    Attributes:
        basis: list of unit vectors.

    Source: Golub and Van Loan, Matrix Computations, chapter 10.
    """

    def __init__(self, product, dimension, seed, dtype):
        self.product = product
        self.dimension = dimension
        self.dtype = dtype
        self.basis = []
        self._generator = np.random.default_rng(seed)
        self._next = flat_vectors.direction(self._generator, dimension, dtype)
        self._diagonal, self._off_diagonal = [], []

    def advance(self):
        """Takes one product.

        Raises:
            ValueError: it is not finite.
        """
        direction = self._next
        self.basis.append(direction)
        image = self.product(direction)
        self._diagonal.append(flat_vectors.inner(image, direction))
        rest = flat_vectors.orthogonalize(image, self.basis)
        length = flat_vectors.norm(rest)
        scale = max(np.abs(self._diagonal + self._off_diagonal))
        if length > EXHAUSTED[self.dtype] * scale:
            self._next = rest / length
        else:
            length = 0.0
            self._next = self._outside()
        self._off_diagonal.append(length)

    def ritz(self):
        """`(values, residuals, vectors)`: ascending Ritz values, error bounds, and coordinates."""
        inside = self._off_diagonal[:-1]
        matrix = np.diag(self._diagonal) + np.diag(inside, 1) + np.diag(inside, -1)
        values, coordinates = np.linalg.eigh(matrix)
        return values, np.abs(self._off_diagonal[-1] * coordinates[-1]), coordinates

    def _outside(self):
        if len(self.basis) == self.dimension:
            return None
        fresh = flat_vectors.direction(self._generator, self.dimension, self.dtype)
        fresh = flat_vectors.orthogonalize(fresh, self.basis)
        return fresh / flat_vectors.norm(fresh)
