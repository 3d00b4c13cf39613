"""Random changes of images in an L2 ball, for Square: bumps that move length to where it helps."""

import functools

import numpy as np

TINY = 1e-12


def first_bumps(draw, shape, epsilon):
    """A change of length `epsilon`: five times five bumps, of a sign per bump and channel.

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


def moved_bump(draw, change, epsilon, side):
    """A change of the same length budget: one window emptied, a bump added in another.

    What the change has in both windows, and what it lacks to `epsilon`, goes into the bump.

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


def odd_side(side, shape):
    """The side of a window: at least 3 and odd, so that a bump has a middle, where it fits."""
    side = max(side, 3)
    return min(side + 1 - side % 2, *shape)


@functools.cache
def bump(side):
    """A peak beside a trough, of length 1, float32 `(side, side)`."""
    upper = _peak(side // 2, side)
    both = np.concatenate([upper, -_peak(side - side // 2, side)])
    return (both / np.sqrt(np.sum(np.square(both)))).astype("float32")


def _peak(rows, columns):
    """Falls from the middle with the distance along the farther axis; of length 1."""
    middles = rows // 2, columns // 2
    away = [np.abs(np.arange(size) - m) for size, m in zip((rows, columns), middles)]
    shares = 1 / np.square(np.arange(1.0, max(middles) + 2))
    left = np.cumsum(shares[::-1])[::-1]
    peak = left[np.maximum(away[0][:, None], away[1][None, :])]
    return peak / np.sqrt(np.sum(np.square(peak))) if peak.size else peak


def _signed(draw, side, channels):
    """A bump, upright or turned, of a sign per channel."""
    shape = bump(side) if draw.random() < 0.5 else bump(side).T
    return shape[:, :, None] * draw.choice(np.array([-1, 1], "float32"), channels)


def _place(draw, rows, columns, side):
    return [draw.integers(0, size - side + 1) for size in (rows, columns)]


def _lengths(change):
    """Of each channel."""
    return np.sqrt(np.sum(np.square(change), axis=(0, 1), keepdims=True))


def _scaled(change, epsilon):
    return (change * (epsilon / (TINY + np.sqrt(np.sum(np.square(change)))))).astype("float32")
