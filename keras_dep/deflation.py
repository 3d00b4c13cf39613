"""Removal of the leading singular component of a gradient, as pure functions on tensors.

The paper (arXiv 2505.11134, Eq. 12 to 15) folds a gradient into a matrix `G = sum_i s_i u_i v_i^T`
and replaces it by `P(G) = G - s_1 u_1 v_1^T`. A full singular value decomposition computes far more
than that. Here a Lanczos process on `G^T G` runs until a bound on its own error is met, most often
after 8 to 16 products with `G` and as many with its transpose. Everything is matrix products: it
runs eagerly, compiled and under XLA.

In the hot loop stand operators rather than `keras.ops`, whose look at every argument costs more on
torch than the small products themselves.
"""

import math

import keras
import numpy as np
from keras import ops

from keras_dep import _backend
from keras_dep._backend import product

# Largest residual accepted, ||G^T G v - s_1^2 v|| / (s_1 ||G||): the error of P(G) over ||G|| is
# at most this over 1 - (s_2 / s_1)^2.
TOLERANCE = 2e-7
# The part of it accepted where a second singular value is close to the first.
CLOSER = 0.1
# Lanczos steps between looks at the bound, and between restarts; restarts at most.
EVERY = 4
BASIS = 32
RESTARTS = 12
# Steps where a look would wait for the device.
BLIND = 24
# 2**16 is the power of the projected matrix that separates its leading eigenvector.
SQUARINGS = 16
# Sums over rows are taken in parts, so that rounding errors do not pile up; XLA then also keeps to
# its fast products. Sums over more columns than LONG_SUM become sums over rows.
PART = 256
LONG_SUM = 8192
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
    shrinks; that of the energy does not. On a GPU, torch would wait for each look at the bound:
    there it takes 24 steps unseen, enough for a network's gradients, not for a flat spectrum.

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
    >>> ops.convert_to_numpy(ops.abs(deflated)).round(4).tolist(), round(float(removed), 4)
    ([[0.0, 0.0], [0.0, 1.0]], 0.9)
    """
    ((deflated, removed, _),) = deflate_all([gradient], [output_axes])
    return deflated, removed


def deflate_all(gradients, output_axes):
    """`deflate` for each of a list of gradients, small ones of one shape together.

    Args:
        gradients: list of tensors.
        output_axes: list of as many numbers, see `matricise`.

    Returns:
        List of triples `(deflated, removed, value)`: see `deflate`; `value` is `s_1`.
    """
    matrices = [
        ops.cast(matricise(gradient, axes), _working_dtype(gradient))
        for gradient, axes in zip(gradients, output_axes, strict=True)
    ]
    results = [None] * len(gradients)
    for group in _stacks([(*matrix.shape, matrix.dtype) for matrix in matrices]):
        stack = _stack([matrices[index] for index in group])
        left, right, share, values = leading_components(stack)
        # In place where a framework can: fresh memory costs more than the sum.
        rest = left * -right
        rest += stack
        for place, index in enumerate(group):
            gradient = gradients[index]
            deflated = ops.cast(ops.reshape(rest[place], gradient.shape), gradient.dtype)
            results[index] = deflated, share[place], values[place]
    return results


@_backend.compiled
def leading_components(matrices):
    """Leading singular component of each matrix in a stack.

    Args:
        matrices: float32 or float64 tensor of shape `(k, m, n)`.

    Returns:
        `(left, right, share, values)` of shapes `(k, m, 1)`, `(k, 1, n)`, `(k,)` and `(k,)`:
        `left * right` are the components `s_1 u_1 v_1^T`, `share` is `s_1^2` over the squared
        Frobenius norm and `values` are `s_1`, both float32. A zero matrix, or one that is not
        finite, gives zeros.
    """
    count, rows, columns = matrices.shape
    if columns > max(rows, LONG_SUM):
        left, right, *numbers = leading_components(ops.swapaxes(matrices, 1, 2))
        return ops.swapaxes(right, 1, 2), ops.swapaxes(left, 1, 2), *numbers
    times, across = _products(matrices)
    forth, back = (times, across) if rows >= columns else (across, times)
    # Fixed and dense: no structured gradient is orthogonal to it, and two runs agree bit for bit.
    start = np.random.default_rng(0).standard_normal((1, min(rows, columns), 1))
    start = np.repeat(start / np.linalg.norm(start), count, axis=0)
    start = ops.convert_to_tensor(start, dtype=matrices.dtype)
    # It meets every entry, so its image tells whether all are finite, and their scale.
    image = forth(start)
    peak = ops.max(ops.abs(image), axis=(1, 2), keepdims=True)
    # Not of the peak: XLA may pass over a NaN there.
    finite = ops.all(ops.isfinite(image), axis=(1, 2), keepdims=True)
    sound = ops.logical_and(finite, peak > 0)
    # Unit scale first: squares of 1e-30 or 1e30 leave float32.
    scale = ops.where(sound, peak, ops.ones_like(peak))
    energy = _energy(matrices, scale)
    vector = _lanczos(lambda vector: back(forth(vector) / scale) / scale, start, energy, sound)
    image = forth(vector) / scale
    removed = _long_sum(image * image)
    share = removed / ops.where(energy > 0, energy, ops.ones_like(energy))
    image, vector, share, values = (
        ops.where(sound, result, ops.zeros_like(result))
        for result in (image * scale, vector, share, removed**0.5 * scale)
    )
    left, right = (image, vector) if rows >= columns else (vector, image)
    share, values = (ops.cast(result[:, 0, 0], "float32") for result in (share, values))
    return left, ops.swapaxes(right, 1, 2), share, values


def _products(matrices):
    """Functions of columns `v`: `G v` and `G^T v`, neither of which transposes `G`."""
    parts = _in_parts(matrices)

    def times(vectors):
        return product(matrices, vectors)

    def across(vectors):
        vectors = ops.swapaxes(_in_parts(vectors), 2, 3)
        return ops.swapaxes(ops.sum(product(vectors, parts), axis=1), 1, 2)

    return times, across


def _energy(matrices, scale):
    """Squared Frobenius norms of `matrices / scale`, of shape `(k, 1, 1)`."""
    # Short sums first.
    axis = 2 if matrices.shape[1] >= matrices.shape[2] else 1

    def at_once():
        return ops.norm(matrices, axis=axis) / scale[:, :, 0]

    def divided():
        return ops.norm(matrices / scale, axis=axis)

    if _backend.branches_freely(matrices):
        ordinary = ops.all(ops.logical_and(scale > 1e-10, scale < 1e10))
        norms = ops.cond(ordinary, at_once, divided)
    else:
        norms = divided()
    return _long_sum(ops.square(norms)[:, :, None])


def _lanczos(gram, start, energy, sound):
    """Leading eigenvectors of a stack of symmetric positive semi-definite operators.

    Full reorthogonalisation; the bound is looked at after each `EVERY` steps, and a full basis
    starts anew from its best vector. Where the space is exhausted the bound is met exactly.

    Args:
        gram: the operators, `(k, n, 1) -> (k, n, 1)`.
        start: unit vectors `(k, n, 1)`.
        energy: trace of each operator, `(k, 1, 1)`.
        sound: whether an operator is worth waiting for, `(k, 1, 1)`.
    """
    count, size, _ = start.shape
    every = min(EVERY, size)
    width = min(BASIS, size) // every * every
    places = ops.convert_to_tensor(np.eye(width), dtype=start.dtype)
    unsound = ops.logical_not(sound)

    def step(index, state):
        basis, projected, direction, _ = state
        basis = basis + direction * places[index]
        rows = ops.swapaxes(basis, 1, 2)
        image = gram(direction)
        inner = product(rows, image)
        rest = image - product(basis, inner)
        rest = rest - product(basis, product(rows, rest))
        length2, within2 = (ops.sum(part * part, axis=1, keepdims=True) for part in (rest, inner))
        # What rounding left of an exhausted space is no direction.
        divisor2 = ops.where(length2 > 1e-12 * within2, length2, float("inf"))
        return basis, projected + inner * places[index], rest / divisor2**0.5, length2

    def advance(index, steps, state, best, close, settled, stride=every):
        end = index + stride
        basis, projected, direction, length2 = ops.fori_loop(index, end, step, state)
        # Only the upper half is filled.
        symmetric = projected + ops.swapaxes(projected, 1, 2) - projected * places
        weights, found_close = _leading_eigenvectors(symmetric)
        # A basis that starts anew does not show the second value again.
        close = ops.logical_or(close, found_close)
        best = product(basis, weights)
        best = best / ops.sum(best * best, axis=1, keepdims=True) ** 0.5
        value = ops.sum(product(symmetric, weights) * weights, axis=1, keepdims=True)
        residual2 = length2 * weights[:, end - 1, None] ** 2
        accepted2 = TOLERANCE**2 * ops.where(close, CLOSER**2, 1.0) * value * energy
        settled = ops.all(ops.logical_or(residual2 <= accepted2, unsound))
        full = end >= width
        state = (
            ops.where(full, 0.0, basis),
            ops.where(full, 0.0, projected),
            ops.where(full, best, direction),
            length2,
        )
        return ops.where(full, 0, end), steps + stride, state, best, close, settled

    def unsettled(index, steps, state, best, close, settled):
        return ops.logical_and(steps < RESTARTS * BASIS, ops.logical_not(settled))

    state = (
        ops.zeros((count, size, width), start.dtype),
        ops.zeros((count, width, width), start.dtype),
        start,
        ops.zeros_like(energy),
    )
    no = energy < 0
    variables = (0, 0, state, start, no, ops.any(no))
    if _backend.branches_freely(start):
        return ops.while_loop(unsettled, advance, variables)[3]
    stride = min(BLIND, width)
    for _ in range(0, BLIND, stride):
        variables = advance(*variables, stride)
    return variables[3]


def _leading_eigenvectors(matrices):
    """Unit leading eigenvectors of small positive semi-definite matrices, by repeated squaring.

    Returns:
        The vectors, `(k, n, 1)`, and whether a second eigenvalue is within some 3 % of the first,
        `(k, 1, 1)`.
    """

    def square(_, power):
        power = power / (ops.max(power, axis=(1, 2), keepdims=True) + TINY)
        # Four squarings of a matrix of this size stay far inside float32.
        for _ in range(4):
            power = product(power, power)
        return power

    power = ops.fori_loop(0, SQUARINGS // 8, square, matrices)
    power = power / (ops.max(power, axis=(1, 2), keepdims=True) + TINY)
    diagonal = ops.diagonal(power, axis1=1, axis2=2)
    # A matrix of rank one has the square of its trace.
    whole2, parts2 = ops.sum(diagonal, axis=1) ** 2, ops.sum(power * power, axis=(1, 2))
    is_close = (parts2 < (1 - 1e-3) * whole2)[:, None, None]
    power = ops.fori_loop(0, SQUARINGS // 8, square, power)
    # No sign is lost: the largest entry of a positive semi-definite matrix is on its diagonal.
    heaviest = ops.argmax(ops.diagonal(power, axis1=1, axis2=2), axis=1)
    one = ops.one_hot(heaviest, power.shape[1], dtype=power.dtype)[:, :, None]
    vectors = product(power, one)
    return vectors / (ops.sum(vectors * vectors, axis=1, keepdims=True) ** 0.5 + TINY), is_close


def _long_sum(columns):
    return ops.sum(ops.sum(_in_parts(columns), axis=2), axis=1, keepdims=True)


def _in_parts(columns):
    """`(k, m, n)`, filled up with zeros where it must be, as `(k, parts, at most PART, n)`."""
    count, rows, width = columns.shape
    least = math.ceil(rows / PART)
    number = next((n for n in range(least, 4 * least) if rows % n == 0), least)
    part = math.ceil(rows / number)
    if number * part > rows:
        columns = ops.pad(columns, [(0, 0), (0, number * part - rows), (0, 0)])
    return ops.reshape(columns, (count, number, part, width))


def _stacks(shapes):
    """Indices of equal `(m, n, dtype)`, in groups of at most half the largest matrix, or alone."""
    # The stack and what is left of it then take no more memory than the largest matrix.
    limit = max((rows * columns for rows, columns, _ in shapes), default=0) / 2
    groups = {}
    for index, (rows, columns, dtype) in enumerate(shapes):
        stacks = groups.setdefault((rows, columns, dtype), [[]])
        if stacks[-1] and (len(stacks[-1]) + 1) * rows * columns > limit:
            stacks.append([])
        stacks[-1].append(index)
    return [stack for stacks in groups.values() for stack in stacks]


def _stack(matrices):
    # One alone needs no copy.
    return ops.stack(matrices) if len(matrices) > 1 else matrices[0][None]


def _working_dtype(tensor):
    return "float64" if keras.backend.standardize_dtype(tensor.dtype) == "float64" else "float32"
