"""Removal of the leading singular component of a gradient, as pure functions on tensors.

The paper (arXiv 2505.11134, Eq. 12 to 15) folds a gradient into a matrix `G = sum_i s_i u_i v_i^T`
and replaces it by `P(G) = G - s_1 u_1 v_1^T`. A full singular value decomposition computes far more
than that, so the leading right singular vector is found in a Krylov space of `G^T G`, its residual
is checked, and a decomposition of the small Gram matrix takes over in the rare case that the check
fails. Everything is matrix products: it runs eagerly, compiled and under XLA.
"""

import math

import keras
import numpy as np
from keras import ops

KRYLOV_STEPS = 16
# 2**20 is the power of the projected Gram matrix that separates its leading eigenvector.
SQUARINGS = 20
RESIDUAL_LIMIT = 3e-6


def matricise(gradient, output_axes=1):
    """Folds a gradient into a matrix with the output axes as columns.

    Args:
        gradient: tensor of rank >= 2 in Keras' layout, outputs last: dense `(in, out)`, convolution
            `(kh, kw, in, out)`.
        output_axes: how many trailing axes count outputs: 1 for all but depthwise kernels
            `(kh, kw, channels, multiplier)`, whose outputs span two.

    Returns:
        Tensor of shape `(product of the input axes, product of the output axes)`.

    Raises:
        ValueError: the rank of `gradient` does not exceed `output_axes`.

    Example:

    >>> matricise(ops.ones((3, 3, 16, 32))).shape
    (144, 32)
    """
    return ops.reshape(gradient, matrix_shape(gradient.shape, output_axes))


def matrix_shape(shape, output_axes=1):
    """Shape that `matricise` gives to a gradient of the static shape `shape`."""
    if len(shape) <= output_axes:
        raise ValueError(
            f"A gradient needs more than output_axes={output_axes} axes to become a matrix, "
            f"received shape={tuple(shape)}; leave such tensors as they are."
        )
    split = len(shape) - output_axes
    return math.prod(shape[:split]), math.prod(shape[split:])


def deflate(gradient, output_axes=1):
    """Subtracts the leading singular component of a gradient.

    The map is positively homogeneous, odd, and invariant under transposition. With `P` for the map
    and `s_1` for the largest singular value, `<G, P(G)> = ||P(G)||^2 = ||G||^2 - s_1^2`: the result
    is still a descent direction. It is neither linear nor idempotent, and a matrix of rank one
    becomes zero. Where the two largest singular values coincide the component is not unique; then
    the energy removed is still `s_1^2`. In float32 the error of the result, relative to the norm of
    the gradient, stays below 1e-5 while they are at least 1 % apart, and grows as their distance
    shrinks; that of the energy does not.

    Args:
        gradient: float tensor of rank >= 2, outputs last; half precision is computed in float32.
        output_axes: see `matricise`.

    Returns:
        `(deflated, removed)`: a tensor like `gradient`, and the scalar share of the squared
        Frobenius norm that was removed, in [0, 1]. A zero gradient gives zeros and share 0. A
        gradient with any non-finite entry comes back untouched, with share 0, so that loss scaling
        and `TerminateOnNaN` still see it.

    Raises:
        ValueError: see `matricise`.

    Source: arXiv 2505.11134, Eq. 12 to 15.

    Example:

    >>> deflated, removed = deflate(ops.diag(ops.array([3.0, 1.0])))
    >>> ops.convert_to_numpy(deflated).round(4).tolist(), round(float(removed), 4)
    ([[0.0, 0.0], [0.0, 1.0]], 0.9)
    """
    matrix = ops.cast(matricise(gradient, output_axes), _working_dtype(gradient))
    finite = ops.all(ops.isfinite(matrix))
    # Unit norm first: squares of 1e-30 or 1e30 leave float32.
    matrix = ops.where(finite, matrix, ops.zeros_like(matrix))
    peak = ops.max(ops.abs(matrix))
    unit = matrix / ops.where(peak > 0, peak, ops.ones_like(peak))
    norm = _norm(unit)
    unit = unit / ops.where(norm > 0, norm, ops.ones_like(norm))
    image, right = leading_component(unit)
    rest = unit - image[:, None] * right[None, :]
    rest = ops.cast(ops.reshape(rest * norm * peak, gradient.shape), gradient.dtype)
    removed = ops.cast(ops.sum(ops.square(image)), "float32")
    return ops.where(finite, rest, gradient), removed


def leading_component(matrix):
    """Leading singular component of a finite matrix of Frobenius norm 1 (or 0).

    Args:
        matrix: float32 or float64 tensor of shape `(m, n)`.

    Returns:
        `(image, right)`: `image = s_1 u_1` of shape `(m,)` and the unit vector `right = v_1` of
        shape `(n,)`, whose outer product is the component. The signs of both are arbitrary. A zero
        matrix gives zeros.
    """
    rows, columns = matrix.shape
    if rows < columns:
        right, left = leading_component(ops.transpose(matrix))
        size = _norm(right)
        unit = right / ops.where(size > 0, size, ops.ones_like(size))
        return left * size, unit
    image, right, trusted = _krylov(matrix)
    if min(rows, columns) <= KRYLOV_STEPS:
        # The Krylov space is the whole space: nothing is left to check.
        return image, right
    return ops.cond(trusted, lambda: (image, right), lambda: _gram(matrix))


def _krylov(matrix):
    """Rayleigh-Ritz in the Krylov space of `matrix^T matrix`, with its residual as certificate."""
    rows, columns = matrix.shape
    # Fixed and dense: no structured gradient is orthogonal to it, and two runs agree bit for bit.
    start = np.random.default_rng(0).standard_normal(rows)
    direction = _normalise(ops.matmul(ops.convert_to_tensor(start, dtype=matrix.dtype), matrix))
    size = min(KRYLOV_STEPS, columns)
    columns_of = ops.eye(size, dtype=matrix.dtype)

    def advance(index, state):
        basis, images, direction = state
        column = ops.take(columns_of, index, axis=0)
        image = ops.matmul(matrix, direction)
        basis = basis + direction[:, None] * column
        images = images + image[:, None] * column
        step = ops.matmul(image, matrix)
        direction = step
        for _ in range(2):
            direction = direction - ops.matmul(basis, ops.matmul(direction, basis))
        # What rounding left of an exhausted space is no direction.
        spent = _norm(direction) <= 1e-6 * _norm(step)
        direction = ops.where(spent, ops.zeros_like(direction), _normalise(direction))
        return basis, images, direction

    # A loop, not its unrolling: compilers pay for every copy of the body.
    state = ops.zeros((columns, size), matrix.dtype), ops.zeros((rows, size), matrix.dtype)
    basis, images, _ = ops.fori_loop(0, size, advance, (*state, direction))
    image, right = _ritz(matrix, basis, images)
    energy = ops.sum(ops.square(image))
    residual = _norm(ops.matmul(image, matrix) - energy * right)
    # s_1 is never below the norm of a row or column; a start that missed it would be.
    squares = ops.square(matrix)
    floor = ops.maximum(ops.max(ops.sum(squares, axis=0)), ops.max(ops.sum(squares, axis=1)))
    trusted = ops.logical_and(
        residual <= RESIDUAL_LIMIT * ops.sqrt(energy), energy >= (1.0 - 1e-5) * floor
    )
    return image, right, trusted


def _gram(matrix):
    """The same from an eigendecomposition of the small Gram matrix, for flat spectra."""
    _, vectors = ops.eigh(ops.matmul(ops.transpose(matrix), matrix))
    # One framework's eigenvectors are ten times less exact: refine within the leading ones.
    basis = vectors[:, -KRYLOV_STEPS:]
    return _ritz(matrix, basis, ops.matmul(matrix, basis))


def _ritz(matrix, basis, images):
    """Leading triplet within a basis, given the images of its vectors."""
    weights = _leading_eigenvector(ops.matmul(ops.transpose(images), images))
    right = _normalise(ops.matmul(basis, weights))
    return ops.matmul(matrix, right), right


def _leading_eigenvector(symmetric):
    """Unit leading eigenvector of a small positive semi-definite matrix, by repeated squaring."""

    def square(_, matrix):
        peak = ops.max(ops.abs(matrix))
        matrix = matrix / ops.where(peak > 0, peak, ops.ones_like(peak))
        return ops.matmul(matrix, matrix)

    power = ops.fori_loop(0, SQUARINGS, square, symmetric)
    heaviest = ops.one_hot(ops.argmax(ops.diag(power)), power.shape[0], dtype=power.dtype)
    return _normalise(ops.matmul(power, heaviest))


def _norm(tensor):
    return ops.sqrt(ops.sum(ops.square(tensor)))


def _normalise(vector):
    size = _norm(vector)
    return vector / ops.where(size > 0, size, ops.ones_like(size))


def _working_dtype(tensor):
    return "float64" if keras.backend.standardize_dtype(tensor.dtype) == "float64" else "float32"
