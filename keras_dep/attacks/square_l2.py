"""Random changes of images in the L2 ball for `Square`: bumps."""

import functools
from typing import Any
from typing import TypeAlias

import numpy as np

Floats: TypeAlias = np.ndarray[Any, np.dtype[np.floating]]

TINY = 1e-12


def first_bumps(draw: np.random.Generator, shape: tuple[int, ...], epsilon: float) -> Floats:
    """A change of length `epsilon`: 5 x 5 bumps, with a random sign per bump and channel.

    Args:
        draw: a `numpy.random.Generator`.
        shape: `(rows, columns, channels)`.
        epsilon: length of the change.

    Returns:
        float32 array `shape`.
    """
    change, side = np.zeros(shape, "float32"), max(min(shape[:2]) // 5, 1)
    offsets = [(size - 5 * side) // 2 if size >= 5 else 0 for size in shape[:2]]
    for row in range(offsets[0], shape[0] - side + 1, side):
        for column in range(offsets[1], shape[1] - side + 1, side):
            change[row : row + side, column : column + side] = _signed(draw, side, shape[2])
    return _scaled(change, epsilon)


def moved_bump(
    draw: np.random.Generator, change: Floats, epsilon: float | np.floating, side: int
) -> Floats:
    """A change with one window set to zero and a bump added in another.

    The bump takes the length of the change in both windows, and the rest up to `epsilon`.

    Args:
        draw: a `numpy.random.Generator`.
        change: float32 array `(rows, columns, channels)`.
        epsilon: largest length of a change.
        side: side of the windows.

    Returns:
        float32 array like `change`, of length `epsilon`.
    """
    rows, columns, channels = change.shape
    there, emptied = (
        tuple(slice(start, start + side) for start in _place(draw, rows, columns, side))
        for _ in range(2)
    )
    affected = np.zeros((rows, columns, 1), bool)
    affected[there] = affected[emptied] = True
    lacking = max(epsilon**2 - float(np.sum(np.square(change))), 0) / channels
    budget = np.sqrt(lacking + np.square(_lengths(change * affected)))
    bump = _signed(draw, side, channels) + change[there] / (TINY + _lengths(change[there]))
    result = change.copy()
    result[emptied] = 0
    result[there] = bump / (TINY + _lengths(bump)) * budget
    return _scaled(result, epsilon)


def odd_side(side: int, shape: tuple[int, ...]) -> int:
    """The side of a window, at least 3 and odd if the image is large enough."""
    side = max(side, 3)
    return min(side + 1 - side % 2, *shape)


@functools.cache
def bump(side: int) -> Floats:
    """A positive and a negative peak side by side, of length 1, float32 `(side, side)`."""
    upper = _peak(side // 2, side)
    both = np.concatenate([upper, -_peak(side - side // 2, side)])
    return (both / np.sqrt(np.sum(np.square(both)))).astype("float32")


def _peak(rows: int, columns: int) -> Floats:
    """A peak of length 1 that falls with the larger distance to the middle of the two axes."""
    middles = rows // 2, columns // 2
    away = [np.abs(np.arange(size) - m) for size, m in zip((rows, columns), middles)]
    shares = 1 / np.square(np.arange(1.0, max(middles) + 2))
    left = np.cumsum(shares[::-1])[::-1]
    peak = left[np.maximum(away[0][:, None], away[1][None, :])]
    return peak / np.sqrt(np.sum(np.square(peak))) if peak.size else peak


def _signed(draw: np.random.Generator, side: int, channels: int) -> Floats:
    """A bump, transposed at random, with a random sign per channel."""
    shape = bump(side) if draw.random() < 0.5 else bump(side).T
    return shape[:, :, None] * draw.choice(np.array([-1, 1], "float32"), channels)


def _place(draw: np.random.Generator, rows: int, columns: int, side: int) -> list[int]:
    return [int(draw.integers(0, size - side + 1)) for size in (rows, columns)]


def _lengths(change: Floats) -> Floats:
    """The Euclidean length of each channel."""
    return np.sqrt(np.sum(np.square(change), axis=(0, 1), keepdims=True))


def _scaled(change: Floats, epsilon: float | np.floating) -> Floats:
    return (change * (epsilon / (TINY + np.sqrt(np.sum(np.square(change)))))).astype("float32")
