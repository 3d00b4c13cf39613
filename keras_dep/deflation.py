"""Removal of the leading singular component of a gradient, as pure functions on tensors.

The paper (arXiv 2505.11134, Eq. 12 to 15) folds a gradient into a matrix `G = sum_i s_i u_i v_i^T`
and replaces it by `P(G) = G - s_1 u_1 v_1^T`. A full singular value decomposition computes far more
than that. Here a Lanczos process on `G^T G` runs until a bound on its own error is met, most often
after 8 to 14 products with `G` and as many with its transpose. Everything is matrix products: it
runs eagerly, compiled and under XLA.
"""

import math

import keras
import numpy as np
from keras import ops

from keras_dep import _backend

# Largest residual accepted, ||G^T G v - s_1^2 v|| / (s_1 ||G||): the error of P(G) over ||G|| is
# at most this over 1 - (s_2 / s_1)^2.
TOLERANCE = 2e-7
# (steps at most, steps between checks): the short process settles all but flat spectra.
SHORT = (16, 4)
LONG = (192, 32)
# 2**16 is the power of the projected matrix that separates its leading eigenvector.
SQUARINGS = 16
# Sums over more rows than LONG_SUM are taken in parts, so that rounding errors do not pile up.
LONG_SUM = 8192
PART = 512
TINY = 1e-30


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
    image, right, removed = leading_component(matrix)
    rest = matrix - image[:, None] * right[None, :]
    return ops.cast(ops.reshape(rest, gradient.shape), gradient.dtype), removed


def leading_component(matrix):
    """Leading singular component of a matrix.

    Args:
        matrix: float32 or float64 tensor of shape `(m, n)`.

    Returns:
        `(image, right, share)`: `s_1 u_1` of shape `(m,)` and `v_1` of shape `(n,)`, whose outer
        product is the component, and `s_1^2` over the squared Frobenius norm, float32. The signs of
        both vectors are arbitrary. A zero matrix, or one that is not finite, gives zeros.
    """
    rows, columns = matrix.shape
    if rows < columns:
        right, left, share = leading_component(ops.transpose(matrix))
        size = ops.sqrt(_energy(right))
        return left * size, right / ops.where(size > 0, size, ops.ones_like(size)), share
    # Fixed and dense: no structured gradient is orthogonal to it, and two runs agree bit for bit.
    start = np.random.default_rng(0).standard_normal(columns)
    start = ops.convert_to_tensor(start / np.linalg.norm(start), dtype=matrix.dtype)
    # It meets every entry, so its image tells whether all are finite, and their scale.
    peak = ops.max(ops.abs(ops.matmul(matrix, start)))
    sound = ops.logical_and(ops.isfinite(peak), peak > 0)
    scale = ops.where(sound, peak, ops.ones_like(peak))
    # Unit scale first: squares of 1e-30 or 1e30 leave float32.
    unit = matrix / scale
    energy = ops.sum(ops.sum(ops.square(unit), axis=1))
    right, trusted = _lanczos(unit, start, energy, *SHORT)
    if columns > SHORT[0] and _backend.branches_freely(matrix):
        right = ops.cond(
            ops.logical_or(trusted, ops.logical_not(sound)),
            lambda: right,
            lambda: _lanczos(unit, right, energy, *LONG)[0],
        )
    image = ops.matmul(unit, right)
    share = _energy(image) / ops.where(energy > 0, energy, ops.ones_like(energy))
    image, right, share = (
        ops.where(sound, value, ops.zeros_like(value)) for value in (image * scale, right, share)
    )
    return image, right, ops.cast(share, "float32")


def _lanczos(matrix, start, energy, limit, every):
    """Leading right singular vector of a tall matrix, and whether its error bound was met.

    Lanczos on `matrix^T matrix` with full reorthogonalisation; the bound is looked at after each
    `every` steps, and `limit` steps are the most. Where the space is exhausted it is met exactly.
    """
    size = matrix.shape[1]
    limit = min(limit, size)
    places = ops.arange(limit)
    transposed = _transposed_product(matrix)

    def step(index, state):
        basis, diagonal, links, direction, link = state
        here = ops.cast(places == index, matrix.dtype)
        basis = basis + here[:, None] * direction
        image = ops.matmul(matrix, direction)
        # The projection of matrix^T matrix onto the basis is tridiagonal.
        diagonal = diagonal + _energy(image) * here
        links = links + link * here
        image = transposed(image)
        following = image - ops.matmul(ops.matmul(basis, image), basis)
        following = following - ops.matmul(ops.matmul(basis, following), basis)
        link = ops.sqrt(_energy(following))
        # What rounding left of an exhausted space is no direction.
        left = ops.cast(link > 1e-6 * ops.sqrt(_energy(image)), matrix.dtype)
        direction = following * (left / ops.maximum(link, TINY))
        return basis, diagonal, links, direction, link * left

    def advance(index, state, right, trusted):
        state = ops.fori_loop(index, index + every, step, state)
        basis, diagonal, links, _, link = state
        beside = ops.diag(links[1:], 1)
        weights = _leading_eigenvector(ops.diag(diagonal) + beside + ops.transpose(beside))
        right = ops.matmul(weights, basis)
        right = right / ops.sqrt(_energy(right))
        value = ops.sum(diagonal * weights * weights) + 2 * ops.sum(
            links[1:] * weights[1:] * weights[:-1]
        )
        last = ops.cast(places == index + every - 1, matrix.dtype)
        residual = link * ops.abs(ops.sum(last * weights))
        return index + every, state, right, residual <= TOLERANCE * ops.sqrt(value * energy)

    def unsettled(index, state, right, trusted):
        return ops.logical_and(index < limit, ops.logical_not(trusted))

    empty = ops.zeros((limit,), matrix.dtype)
    state = (ops.zeros((limit, size), matrix.dtype), empty, empty, start, empty[0])
    variables = (0, state, start, energy < 0)
    if _backend.branches_freely(matrix):
        _, _, right, trusted = ops.while_loop(unsettled, advance, variables)
    else:
        for _ in range(0, limit, every):
            variables = advance(*variables)
        _, _, right, trusted = variables
    return right, trusted


def _transposed_product(matrix):
    """`w -> matrix^T w` for a tall matrix, long sums in parts so that rounding does not pile up."""
    rows, columns = matrix.shape
    if rows <= LONG_SUM:
        return lambda vector: ops.matmul(vector, matrix)
    parts = _in_parts(matrix)
    return lambda vector: ops.sum(ops.matmul(_in_parts(vector)[:, None, :], parts), axis=(0, 1))


def _in_parts(tensor):
    """`(rows, ...)`, filled up with zeros, as `(parts, PART, ...)`."""
    missing = -tensor.shape[0] % PART
    if missing:
        tensor = ops.pad(tensor, [(0, missing)] + [(0, 0)] * (len(tensor.shape) - 1))
    return ops.reshape(tensor, (-1, PART, *tensor.shape[1:]))


def _energy(vector):
    if vector.shape[0] <= LONG_SUM:
        return ops.dot(vector, vector)
    return ops.sum(ops.sum(ops.square(_in_parts(vector)), axis=1))


def _leading_eigenvector(symmetric):
    """Unit leading eigenvector of a small positive semi-definite matrix, by repeated squaring."""

    def square(_, power):
        peak = ops.max(power)
        power = power / ops.maximum(peak, TINY)
        # Four squarings of a matrix of this size stay far inside float32.
        for _ in range(4):
            power = ops.matmul(power, power)
        return power

    # No sign is lost: the largest entry of a positive semi-definite matrix is on its diagonal.
    power = ops.fori_loop(0, SQUARINGS // 4, square, symmetric)
    heaviest = ops.one_hot(ops.argmax(ops.diag(power)), power.shape[0], dtype=power.dtype)
    vector = ops.matmul(power, heaviest)
    return vector / ops.maximum(ops.sqrt(_energy(vector)), TINY)


def _working_dtype(tensor):
    return "float64" if keras.backend.standardize_dtype(tensor.dtype) == "float64" else "float32"
