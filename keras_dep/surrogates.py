"""Surrogate gradients: a spike is 0 or 1, and its derivatives are those of a smooth primitive.

`spike(x) = step(x) + (g(x) - stop_gradient(g(x)))` for a bounded primitive `g`. The bracket is
exactly zero, so the forward value is the step; the first and second derivatives are those of `g`,
in forward and reverse mode, on every backend. A custom gradient gives wrong Hessian-vector products
on two of the three.
"""

import math

from keras import ops


def spike(x, surrogate="triangle", width=1.0):
    """Heaviside step of `x` (1 where `x >= 0`) with a surrogate derivative.

    Every surrogate is one shape `G` stretched to a width: `g(x) = G(x / width)`, hence
    `g'(x) = G'(x / width) / width`.

    | name | `G'(z)` | usual width |
    |---|---|---|
    | `triangle` | `max(0, 1 - abs(z))` | 1 |
    | `rectangle` | `1` where `abs(z) <= 1/2` | 1 |
    | `sigmoid` | `s(z) (1 - s(z))`, `s` the logistic function | 1/4 |
    | `arctan` | `(1/2) / (1 + (pi z / 2)^2)` | 1/2 |

    Args:
        x: float tensor, the membrane potential minus the threshold.
        surrogate: one of `names()`.
        width: positive float, in the units of `x`. Libraries that speak of a steepness `alpha` mean
            `1 / width`.

    Returns:
        Tensor like `x`, of zeros and ones.

    Raises:
        ValueError: unknown name or a width that is not positive.

    Source: Neftci et al. 2019 (surrogate gradients).

    Example:

    >>> ops.convert_to_numpy(spike(ops.array([-0.5, 0.0, 0.5]))).tolist()
    [0.0, 1.0, 1.0]
    """
    smooth = _PRIMITIVES[check(surrogate, width)](x / width)
    return ops.cast(x >= 0, x.dtype) + (smooth - ops.stop_gradient(smooth))


def names():
    """Names of the surrogates, in the order of the table in `spike`."""
    return tuple(_PRIMITIVES)


def usual_width(surrogate):
    """Width that the literature uses for a surrogate when it names none."""
    return {"triangle": 1.0, "rectangle": 1.0, "sigmoid": 0.25, "arctan": 0.5}[check(surrogate)]


def check(surrogate, width=1.0):
    """Returns `surrogate` when the pair is valid, raises `ValueError` otherwise."""
    if surrogate not in _PRIMITIVES:
        raise ValueError(f"surrogate must be one of {', '.join(names())}; received {surrogate!r}.")
    if not 0 < width < math.inf:
        raise ValueError(
            f"width must be a positive finite number; received {width!r}; a usual one is 1.0."
        )
    return surrogate


def _triangle(z):
    z = ops.clip(z, -1.0, 1.0)
    return z - 0.5 * z * ops.abs(z)


_PRIMITIVES = {
    "triangle": _triangle,
    "rectangle": lambda z: ops.clip(z, -0.5, 0.5),
    "sigmoid": ops.sigmoid,
    "arctan": lambda z: ops.arctan(0.5 * math.pi * z) / math.pi,
}
