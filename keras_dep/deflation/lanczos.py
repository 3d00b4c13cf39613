"""Leading singular components of several matrices, computed together.

A full singular value decomposition computes far more. Here a Lanczos process on `G^T G` runs until
a bound on its error is met, most often after 8 to 16 products with `G` and as many with its
transpose. It consists of matrix products, so it runs eagerly, compiled and under XLA.

The hot loop uses operators: argument checks of `keras.ops` cost more on torch than small products.
"""

import math
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_dep import _backend
from keras_dep._backend import product
from keras_dep._internal.types import Array
from keras_dep._internal.types import Tensor

# Largest residual accepted, ||G^T G v - s_1^2 v|| / (s_1 ||G||): the error of P(G) over ||G|| is
# at most this over 1 - (s_2 / s_1)^2.
TOLERANCE = 2e-7
# Factor of the tolerance if the second singular value is within the share CLOSENESS of the first.
CLOSER = 0.1
CLOSENESS = 0.03
# Lanczos steps before the first check of the bound, since hardly any gradient converges sooner, and
# between checks; steps between restarts; largest number of restarts.
FIRST = 8
EVERY = 2
BASIS = 32
RESTARTS = 12
# Steps if a check would wait for the device.
BLIND = 24
# Sums over rows are taken in parts of PART, which limits rounding errors; XLA then also uses its
# fast products. Sums over more columns than LONG_SUM become sums over rows.
PART = 256
LONG_SUM = 8192
SMALL = 2**16
TINY = 1e-30


@_backend.compiled
def leading_components(*matrices: Tensor) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Computes the leading singular component of each of several matrices.

    Products are taken with each matrix; all other operations run on all of them at once, on vectors
    padded with zeros. The result for a matrix does not depend on the others.

    Args:
        *matrices: float32 tensors of any shapes `(m, n)`, or float64 ones.

    Returns:
        List of `(left, right, share, value)` of shapes `(m, 1)`, `(1, n)`, `()` and `()`:
        `left * right` is the component `s_1 u_1 v_1^T`, `share` is `s_1^2` over the squared
        Frobenius norm and `value` is `s_1`, both float32. A zero or non-finite matrix gives zeros.

    Example:

    >>> ((left, right, share, value),) = leading_components(ops.diag(ops.array([3.0, 1.0])))
    >>> left.shape, right.shape, round(float(share), 3), round(float(value), 3)
    ((2, 1), (1, 2), 0.9, 3.0)
    """
    dtype = matrices[0].dtype
    widths = [min(matrix.shape) for matrix in matrices]
    forth, back = zip(*map(_products, matrices))
    starts = [ops.convert_to_tensor(_start(width), dtype=dtype) for width in widths]
    gaps = [ops.zeros((1, max(widths) - width), dtype) for width in widths]

    def stacked(rows: Sequence[Tensor]) -> Tensor:
        if len(rows) == 1:
            return rows[0][None]
        return ops.stack(
            [
                ops.concatenate(pair, axis=1) if pair[1].shape[1] else pair[0]
                for pair in zip(rows, gaps)
            ]
        )

    # The start vector has no zeros: its image is finite if all entries are, and has their scale.
    images = [times(start) for times, start in zip(forth, starts)]
    peaks = ops.stack([ops.max(ops.abs(image)) for image in images])
    # The peak does not show it: XLA's maximum may ignore a NaN.
    finite = ops.stack([ops.all(ops.isfinite(image)) for image in images])
    sound = ops.logical_and(finite, peaks > 0)
    # Unit scale first: squares of 1e-30 or 1e30 leave float32.
    scales = ops.where(sound, peaks, ops.ones_like(peaks))
    energies = _energies(matrices, scales)
    each = [(place, width, scales[place]) for place, width in enumerate(widths)]

    def gram(vectors: Tensor) -> Tensor:
        return stacked(
            [
                back[place](forth[place](vectors[place][:, :width]) / scale) / scale
                for place, width, scale in each
            ]
        )

    vectors = _lanczos(gram, stacked(starts), energies, sound)
    vectors = [vectors[place][:, :width] for place, width, _ in each]
    images = [forth[place](vectors[place]) / scale for place, _, scale in each]
    removed = ops.stack([_sum_of_squares(image) for image in images])
    shares = removed / ops.where(energies > 0, energies, ops.ones_like(energies))
    shares, values = (
        ops.cast(ops.where(sound, numbers, ops.zeros_like(numbers)), "float32")
        for numbers in (shares, removed**0.5 * scales)
    )
    components = []
    for (place, _, scale), matrix, image, vector in zip(each, matrices, images, vectors):
        image, vector = (
            ops.where(sound[place], tensor, ops.zeros_like(tensor))
            for tensor in (image * scale, vector)
        )
        tall = matrix.shape[0] >= matrix.shape[1]
        left, right = (image, vector) if tall else (vector, image)
        # Remove the padding of the parts.
        left = ops.reshape(left, (-1, 1))[: matrix.shape[0]]
        right = ops.reshape(right, (1, -1))[:, : matrix.shape[1]]
        components.append((left, right, shares[place], values[place]))
    return components


def _start(width: int) -> Array:
    """A fixed, dense unit vector: no structured gradient is orthogonal to it, and runs repeat."""
    start = np.random.default_rng(0).standard_normal((1, width))
    return start / np.linalg.norm(start)


def _products(matrix: Tensor) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """Products with a matrix and its transpose, on rows as long as the short side.

    With `m >= n` they are `v -> G v^T` and `u -> u^T G`. Large matrices are not transposed.
    """
    rows, columns = matrix.shape
    # Copying a small matrix takes less time than reshaping its rows.
    if columns > rows and (columns > LONG_SUM or rows * columns <= SMALL):
        return _products(ops.swapaxes(matrix, 0, 1))
    parts = _in_parts(matrix)
    number, part, _ = parts.shape
    ones = ops.ones((1, number), matrix.dtype)

    def times(row: Tensor) -> Tensor:
        return product(parts, row, transpose_other=True)

    def across(column_parts: Tensor) -> Tensor:
        sums = product(column_parts, parts, transpose_one=True)
        return product(ones, sums[:, 0]) if number > 1 else sums[0]

    def row_across(row: Tensor) -> Tensor:
        return across(_in_parts(ops.reshape(row, (rows, 1))))

    def times_to_row(row: Tensor) -> Tensor:
        return ops.reshape(times(row), (1, number * part))[:, :rows]

    return (times, across) if rows >= columns else (row_across, times_to_row)


def _energies(matrices: Sequence[Tensor], scales: Tensor) -> Tensor:
    """Squared Frobenius norms of all `matrices / scales`, of shape `(k,)`."""

    def norms(matrix: Tensor) -> Tensor:
        # Sum over the short side first.
        lengths = ops.norm(matrix, axis=int(matrix.shape[0] >= matrix.shape[1]))
        return _in_parts(ops.reshape(lengths, (-1, 1)))

    def at_once() -> Tensor:
        lengths = [norms(matrix) / scales[place] for place, matrix in enumerate(matrices)]
        return ops.stack([_sum_of_squares(length) for length in lengths])

    def divided() -> Tensor:
        lengths = [norms(matrix / scales[place]) for place, matrix in enumerate(matrices)]
        return ops.stack([_sum_of_squares(length) for length in lengths])

    if not _backend.branches_freely(scales):
        return divided()
    ordinary = ops.all(ops.logical_and(scales > 1e-10, scales < 1e10))
    return ops.cond(ordinary, at_once, divided)


def _lanczos(
    gram: Callable[[Tensor], Tensor], start: Tensor, energies: Tensor, sound: Tensor
) -> Tensor:
    """Leading eigenvectors of several symmetric positive semi-definite operators.

    Full reorthogonalisation. The bound is checked after each `EVERY` steps, and a full basis
    restarts from its best vector. In an exhausted space the bound is met exactly. An operator keeps
    the vector that met its bound while others continue.

    Args:
        gram: the operators, `(k, 1, n) -> (k, 1, n)`.
        start: unit vectors `(k, 1, n)`.
        energies: trace of each operator, `(k,)`.
        sound: whether an operator is finite and not zero, `(k,)`; the others are not waited for.

    Returns:
        Unit vectors `(k, 1, n)`.
    """
    count, _, size = start.shape
    every = min(EVERY, size)
    width = min(BASIS, size) // every * every
    places = ops.convert_to_tensor(np.eye(width), dtype=start.dtype)
    columns = ops.reshape(places, (width, width, 1))
    eigenvectors = _backend.leading_eigenvectors(
        lambda matrices: _leading_eigenvectors(matrices, places), CLOSENESS
    )

    def step(index: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        basis, projected, direction, _ = state
        basis = basis + columns[index] * direction
        image = gram(direction)
        inner = product(basis, image, transpose_other=True)
        rest = image - product(inner, basis, transpose_one=True)
        again = product(basis, rest, transpose_other=True)
        rest = rest - product(again, basis, transpose_one=True)
        length2 = product(rest, rest, transpose_other=True)
        within2 = product(inner, inner, transpose_one=True)
        # In an exhausted space the rest is rounding error.
        divisor2 = ops.where(length2 > 1e-12 * within2, length2, float("inf"))
        return basis, projected + inner * places[index], rest / divisor2**0.5, length2

    def advance(
        index: Tensor,
        stride: int,
        steps: Tensor,
        state: tuple[Tensor, ...],
        best: Tensor,
        close: Tensor,
        wanted: Tensor,
    ) -> tuple[Any, ...]:
        end = index + stride
        basis, projected, direction, length2 = ops.fori_loop(index, end, step, state)
        # Only the upper triangle is filled.
        symmetric = projected + ops.swapaxes(projected, 1, 2) - projected * places
        weights, found_close = eigenvectors(symmetric)
        # A restarted basis does not contain the second value.
        close = close | found_close
        found = product(weights, basis, transpose_one=True)
        found = found / product(found, found, transpose_other=True) ** 0.5
        best = ops.where(wanted[:, None, None], found, best)
        values = product(weights, product(symmetric, weights), transpose_one=True)[:, 0, 0]
        residuals2 = (length2 * weights[:, end - 1, None] ** 2)[:, 0, 0]
        strictness = ops.cast(ops.where(close, CLOSER**2, 1.0), values.dtype)
        accepted2 = TOLERANCE**2 * strictness * values * energies
        wanted = wanted & (residuals2 > accepted2)
        full = end >= width
        state = (
            ops.where(full, 0.0, basis),
            ops.where(full, 0.0, projected),
            ops.where(full, best, direction),
            length2,
        )
        return ops.where(full, 0, end), every, steps + stride, state, best, close, wanted

    def unsettled(
        index: Tensor,
        stride: int,
        steps: Tensor,
        state: tuple[Tensor, ...],
        best: Tensor,
        close: Tensor,
        wanted: Tensor,
    ) -> Tensor:
        return (steps < RESTARTS * BASIS) & ops.any(wanted)

    state = (
        ops.zeros((count, width, size), start.dtype),
        ops.zeros((count, width, width), start.dtype),
        start,
        ops.zeros((count, 1, 1), start.dtype),
    )
    variables: tuple[Any, ...]
    variables = (0, min(FIRST, width), 0, state, start, energies < 0, sound)
    if _backend.branches_freely(start):
        return ops.while_loop(unsettled, advance, variables)[4]
    stride = min(BLIND, width)
    for _ in range(0, BLIND, stride):
        variables = advance(variables[0], stride, *variables[2:])
    return variables[4]


def _leading_eigenvectors(matrices: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """Unit leading eigenvectors of small positive semi-definite matrices, by repeated squaring.

    Returns:
        The vectors, `(k, n, 1)`, and whether a second eigenvalue is within the share `CLOSENESS` of
        the first, `(k,)`.
    """

    def sharpened(power: Tensor) -> Tensor:
        power = power / (ops.max(power, axis=(1, 2), keepdims=True) + TINY)
        # Four squarings of a matrix of this size cannot overflow float32.
        for _ in range(4):
            power = product(power, power)
        return power

    power = sharpened(sharpened(matrices))
    power = power / (ops.max(power, axis=(1, 2), keepdims=True) + TINY)
    # The sum of squared eigenvalues is the squared trace minus twice the products of two of them.
    whole2 = ops.sum(ops.diagonal(power, axis1=1, axis2=2), axis=1) ** 2
    second = (1 - CLOSENESS) ** 256
    is_close = ops.sum(power * power, axis=(1, 2)) < (1 - 2 * second) * whole2
    power = sharpened(power)
    # The largest entry of a positive semi-definite matrix is on its diagonal.
    heaviest = ops.argmax(ops.diagonal(power, axis1=1, axis2=2), axis=1)
    vectors = product(power, ops.take(places, heaviest, axis=0)[:, :, None])
    length2 = product(vectors, vectors, transpose_one=True)
    return vectors / (length2**0.5 + TINY), is_close


def _sum_of_squares(parts: Tensor) -> Tensor:
    return ops.sum(ops.sum(parts * parts, axis=-2))


def _in_parts(matrix: Tensor) -> Tensor:
    """A matrix `(m, n)`, padded with zeros if necessary, as `(parts, at most PART, n)`."""
    rows, columns = matrix.shape
    least = math.ceil(rows / PART)
    number = next((n for n in range(least, 4 * least) if rows % n == 0), least)
    part = math.ceil(rows / number)
    if number * part > rows:
        matrix = ops.pad(matrix, [(0, number * part - rows), (0, 0)])
    return ops.reshape(matrix, (number, part, columns))
