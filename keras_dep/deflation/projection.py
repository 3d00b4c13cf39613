"""Removal of the leading singular component of a gradient, as pure functions on tensors.

The paper (arXiv 2505.11134, Eq. 12 to 15) folds a gradient into a matrix `G = sum_i s_i u_i v_i^T`
and replaces it by `P(G) = G - s_1 u_1 v_1^T`.
"""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_dep import _backend
from keras_dep._internal.types import Tensor
from keras_dep.deflation.lanczos import BASIS
from keras_dep.deflation.lanczos import leading_components

# The number of trailing axes that count outputs, or these axes.
OutputAxes = int | Sequence[int]

# Entries that the bases of a group may have in any case.
ROOM = 2**18
# Largest ratio of the entries of a group to those of the largest matrix.
PACK = 1.25


def matricise(gradient: Tensor, output_axes: OutputAxes = 1) -> Tensor:
    """Folds a gradient into a matrix with the output axes as columns.

    Args:
        gradient: tensor of rank >= 2, for example a dense kernel `(in, out)` or that of a
            convolution `(kh, kw, in, out)`.
        output_axes: number of trailing axes that count outputs: 1 for most kernels of Keras, 2 for
            depthwise kernels `(kh, kw, channels, multiplier)`. Or the axes themselves: `(-2,)` for
            transposed convolutions `(kh, kw, out, in)`, `(0,)` for torch's `(out, in, kh, kw)`.

    Returns:
        Tensor of shape `(product of the input axes, product of the output axes)`.

    Raises:
        ValueError: the number `output_axes` is not less than the rank of `gradient`, or names axes
            that it does not have.

    Example:

    >>> matricise(ops.ones((3, 3, 16, 32))).shape
    (144, 32)
    >>> matricise(ops.ones((32, 16, 3, 3)), output_axes=(0,)).shape
    (144, 32)
    """
    inputs, outputs = _sides(gradient.shape, output_axes)
    return _folded(gradient, inputs, outputs)


def unmatricise(matrix: Tensor, shape: Sequence[int], output_axes: OutputAxes = 1) -> Tensor:
    """Unfolds a matrix into a tensor: the inverse of `matricise`.

    Args:
        matrix: tensor of the shape `matrix_shape(shape, output_axes)`.
        shape: shape of the gradient.
        output_axes: see `matricise`.

    Returns:
        Tensor of that shape.

    Raises:
        ValueError: see `matricise`.

    Example:

    >>> unmatricise(ops.ones((144, 32)), (32, 16, 3, 3), output_axes=(0,)).shape
    (32, 16, 3, 3)
    """
    return _unfolded(matrix, shape, *_sides(shape, output_axes))


def matrix_shape(shape: Sequence[int], output_axes: OutputAxes = 1) -> tuple[int, int]:
    """Computes the shape that `matricise` gives to a gradient.

    Args:
        shape: static shape of the gradient.
        output_axes: see `matricise`.

    Returns:
        `(product of the input axes, product of the output axes)`.

    Raises:
        ValueError: see `matricise`.

    Example:

    >>> matrix_shape((3, 3, 16, 32))
    (144, 32)
    """
    inputs, outputs = _sides(shape, output_axes)
    return math.prod(shape[axis] for axis in inputs), math.prod(shape[axis] for axis in outputs)


def deflate(gradient: Tensor, output_axes: OutputAxes = 1) -> tuple[Tensor, Tensor]:
    """Subtracts the leading singular component of a gradient.

    The map is positively homogeneous, odd, and invariant under transposition. With `P` for the map
    and `s_1` for the largest singular value, `<G, P(G)> = ||P(G)||^2 = ||G||^2 - s_1^2`: the result
    is still a descent direction. The map is neither linear nor idempotent, and a matrix of rank one
    becomes zero. If the two largest singular values are equal, the component is not unique, but
    the removed energy is still `s_1^2`. In float32 the error of the result, relative to the norm of
    the gradient, is below 1e-5 if the two differ by at least 1 %, and grows as their difference
    shrinks; the error of the energy does not. On a GPU, torch would wait for the device at each
    check of the error bound. There it takes 24 steps without a check, which is enough for gradients
    of networks, but not for a flat spectrum.

    Args:
        gradient: float tensor of rank >= 2; half precision is computed in float32.
        output_axes: see `matricise`.

    Returns:
        `(deflated, removed)`: a tensor like `gradient`, and the scalar share of the squared
        Frobenius norm that was removed, in [0, 1]. A zero gradient gives zeros and share 0. A
        gradient with a non-finite entry is returned unchanged, with share 0, so that loss scaling
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


def deflate_all(
    gradients: Sequence[Tensor], output_axes: Sequence[OutputAxes]
) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Applies `deflate` to each of several gradients.

    Small matrices share the operations of a Lanczos step, which are cheap but many.

    Args:
        gradients: tensors.
        output_axes: output axes of each, see `matricise`.

    Returns:
        List of triples `(deflated, removed, value)`: see `deflate`; `value` is `s_1`, a float32
        scalar.

    Raises:
        ValueError: see `matricise`, or lists of different lengths.

    Example:

    >>> gradients = [ops.diag(ops.array([3.0, 1.0])), ops.ones((2, 5))]
    >>> [round(float(value), 3) for _, _, value in deflate_all(gradients, [1, 1])]
    [3.0, 3.162]
    """
    sides = [
        _contiguous(*_sides(gradient.shape, axes))
        for gradient, axes in zip(gradients, output_axes, strict=True)
    ]
    matrices = [
        ops.cast(_folded(gradient, rows, columns), _working_dtype(gradient))
        for gradient, (rows, columns) in zip(gradients, sides)
    ]
    results: list[tuple[Tensor, Tensor, Tensor]] = [(None, None, None)] * len(gradients)
    for group in _groups([(*matrix.shape, matrix.dtype) for matrix in matrices]):
        components = leading_components(*(matrices[index] for index in group))
        for index, (left, right, share, value) in zip(group, components):
            rest = _backend.subtract_rank_one(matrices[index], left, right)
            deflated = _unfolded(rest, gradients[index].shape, *sides[index])
            results[index] = ops.cast(deflated, gradients[index].dtype), share, value
    return results


def _sides(
    shape: Sequence[int], output_axes: OutputAxes
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The axes of inputs and those of outputs, each in ascending order."""
    rank = len(shape)
    if isinstance(output_axes, int):
        if not 0 <= output_axes < rank:
            raise ValueError(
                f"A gradient needs more than output_axes={output_axes} axes to become a matrix; "
                f"received shape={tuple(shape)}; do not deflate such tensors."
            )
        output_axes = range(rank - output_axes, rank)
    axes = tuple(axis + rank if axis < 0 else axis for axis in output_axes)
    if not set(axes) <= set(range(rank)) or len(set(axes)) < len(axes):
        raise ValueError(
            f"output_axes must be different axes of the gradient; received {tuple(output_axes)} "
            f"for shape={tuple(shape)}; if outputs come first, pass output_axes=(0,)."
        )
    return tuple(axis for axis in range(rank) if axis not in axes), tuple(sorted(axes))


def _contiguous(
    inputs: tuple[int, ...], outputs: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Axes of rows and columns; leading output axes are the rows, which needs no transposition."""
    leading = outputs == tuple(range(len(outputs)))
    return (outputs, inputs) if leading else (inputs, outputs)


def _folded(gradient: Tensor, rows: tuple[int, ...], columns: tuple[int, ...]) -> Tensor:
    shape = tuple(math.prod(gradient.shape[axis] for axis in side) for side in (rows, columns))
    order = rows + columns
    if order != tuple(range(len(order))):
        gradient = ops.transpose(gradient, order)
    return ops.reshape(gradient, shape)


def _unfolded(
    matrix: Tensor, shape: Sequence[int], rows: tuple[int, ...], columns: tuple[int, ...]
) -> Tensor:
    order = rows + columns
    tensor = ops.reshape(matrix, [shape[axis] for axis in order])
    if order != tuple(range(len(order))):
        tensor = ops.transpose(tensor, sorted(range(len(order)), key=order.__getitem__))
    return tensor


def _groups(shapes: Sequence[tuple[int, int, Any]]) -> list[list[int]]:
    """Indices in groups of one dtype: small matrices together, large ones alone."""
    # A group should fit into a cache, and its bases should take less memory than a gradient.
    sizes = [rows * columns for rows, columns, _ in shapes]
    largest = max(sizes, default=0)
    groups: list[list[int]] = []
    gathered: dict[Any, tuple[list[int], float, int]] = {}
    for index in sorted(range(len(shapes)), key=lambda index: -sizes[index]):
        rows, columns, dtype = shapes[index]
        group, entries, longest = gathered.get(dtype, ([], math.inf, 0))
        entries, longest = entries + sizes[index], max(longest, min(rows, columns))
        basis = BASIS * (len(group) + 1) * longest
        if entries > PACK * largest or basis > max(ROOM, largest / 2):
            group, entries, longest = [], sizes[index], min(rows, columns)
            groups.append(group)
        group.append(index)
        if sizes[index] <= largest / 2:
            gathered[dtype] = group, entries, longest
    return groups


def _working_dtype(tensor: Tensor) -> str:
    return "float64" if keras.backend.standardize_dtype(tensor.dtype) == "float64" else "float32"
