"""Surrogate gradients: a spike is 0 or 1, and its derivatives are those of a smooth primitive.

`spike(x) = step(x) + (g(x) - stop_gradient(g(x)))` for a bounded primitive `g`. The bracket is
exactly zero, so the forward value is the step; the first and second derivatives are those of `g`,
in forward and reverse mode, on every backend. A custom gradient gives wrong Hessian-vector products
on two of the three.
"""

import math

from keras import ops

from keras_dep import _backend
from keras_dep._internal import validation
from keras_dep._internal.types import Tensor


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
    | `fast_sigmoid` | `(1/2) / (1 + abs(z))^2` | 1/2 |
    | `piecewise_exponential` | `(1/2) exp(-abs(z))` | 1 |

    The area under each is 1. `register` adds others.

    Args:
        x: float tensor, the membrane potential minus the threshold.
        surrogate: one of `names()`.
        width: positive float, in the units of `x`, or a tensor of such, not checked. Libraries that
            speak of a steepness `alpha` mean `1 / width`.

    Returns:
        Tensor like `x`, of zeros and ones; NaN, as is the derivative, where `x` is not finite.

    Raises:
        ValueError: unknown name or a width that is not positive.

    Source: Neftci et al. 2019 (surrogate gradients); Zenke and Ganguli 2018 (`fast_sigmoid`);
    Shrestha and Orchard 2018 (`piecewise_exponential`).

    Example:

    >>> ops.convert_to_numpy(spike(ops.array([-0.5, 0.0, 0.5]))).tolist()
    [0.0, 1.0, 1.0]
    """
    return step(x, _PRIMITIVES[check(surrogate, width)](_stretched(x, width)))


def step(x, smooth):
    """Heaviside step of `x` with the derivatives of `smooth`, which must be finite where `x` is.

    Where `x` is not finite, neither are the step and its derivative.
    """
    fired = ops.cast(x >= 0, x.dtype)
    return fired + (smooth - ops.stop_gradient(smooth)) + undefined(x)


def smooth_step(x: Tensor, surrogate: str = "triangle", width: float = 1.0) -> Tensor:
    """The primitive of a surrogate itself, in place of the step: from 0 far below to 1 far above.

    Args:
        x: float tensor, the membrane potential minus the threshold.
        surrogate: one of `smooth_names()`.
        width: positive float, in the units of `x`.

    Returns:
        Tensor like `x`, with values in [0, 1] and the derivative that `spike` has there.

    Raises:
        ValueError: a surrogate without a bounded primitive in closed form, or a width that is not
            positive.

    Example:

    >>> ops.convert_to_numpy(smooth_step(ops.array([-2.0, 0.0, 0.5]))).tolist()
    [0.0, 0.5, 0.875]
    """
    if surrogate not in _SMALLEST:
        raise ValueError(
            f"surrogate must have a primitive in closed form, one of {', '.join(_SMALLEST)}; "
            f"received {surrogate!r}."
        )
    check(surrogate, width)
    return _PRIMITIVES[surrogate](_stretched(x, width)) - _SMALLEST[surrogate]


def smooth_names() -> tuple[str, ...]:
    """Names of the surrogates that `smooth_step` takes."""
    return tuple(_SMALLEST)


def undefined(x):
    """Zeros without derivative; NaN, as is the derivative, where `x` is not finite.

    To be added to what would turn a NaN into a number, as a comparison does.

    Example:

    >>> ops.convert_to_numpy(undefined(ops.array([1.0, math.inf, math.nan]))).tolist()
    [0.0, nan, nan]
    """
    return _backend.marked(ops.zeros_like(x), ops.stop_gradient(x)) * x


def derivative(surrogate, width=1.0):
    """The derivative that `spike` has in first order, as a function of finite `x`.

    Returns:
        The function, or `None` where a surrogate was registered by its primitive alone.

    Example:

    >>> ops.convert_to_numpy(derivative("triangle")(ops.array([-0.5, 0.0, 2.0]))).tolist()
    [0.5, 1.0, 0.0]
    """
    shape = _DERIVATIVES.get(check(surrogate, width))
    if shape is None or (not ops.is_tensor(width) and width == 1):
        return shape
    return lambda x: _stretched(shape(_stretched(x, width)), width)


def register(name, primitive=None, derivative=None, usual_width=1.0):
    """Adds a surrogate under a name, for every layer and flag that takes one.

    A model saved with it is loaded by a process that has registered it too.

    Args:
        name: string, not taken yet.
        primitive: `G`, a function of the stretched potential `z`, made of `keras.ops`; or
        derivative: `G'` in its place, where the primitive has no closed form. The second derivative
            is then the one that the framework finds for `G'`.
        usual_width: width where none is given.

    Raises:
        ValueError: a name that is taken, not exactly one function, or a width that is not positive.

    Example:

    >>> register("cauchy", derivative=lambda z: 1 / (math.pi * (1 + z * z)))
    >>> ops.convert_to_numpy(spike(ops.array([-0.5, 0.5]), "cauchy")).tolist()
    [0.0, 1.0]
    """
    if name in _PRIMITIVES or not isinstance(name, str):
        raise ValueError(f"name must be a string not taken yet; received {name!r}; choose another.")
    if (primitive is None) == (derivative is None):
        raise ValueError(
            f"one of primitive and derivative must be given; received primitive={primitive!r}, "
            f"derivative={derivative!r}."
        )
    _check_width(usual_width)
    _PRIMITIVES[name] = _integral(derivative) if primitive is None else primitive
    _DERIVATIVES[name] = derivative
    _USUAL_WIDTHS[name] = usual_width


def names():
    """Names of the surrogates, in the order of the table in `spike`."""
    return tuple(_PRIMITIVES)


def usual_width(surrogate):
    """Width that the literature uses for a surrogate when it names none."""
    return _USUAL_WIDTHS[check(surrogate)]


def check(surrogate, width=1.0):
    """Returns `surrogate` when the pair is valid, raises `ValueError` otherwise."""
    mend = "keras_dep.surrogates.register adds one of your own"
    validation.one_of("surrogate", surrogate, names(), mend)
    _check_width(width)
    return surrogate


def _check_width(width):
    if not ops.is_tensor(width) and not 0 < width < math.inf:
        raise ValueError(
            f"width must be a positive finite number; received {width!r}; a usual one is 1.0."
        )


def _stretched(x, width):
    return x / (ops.cast(width, x.dtype) if ops.is_tensor(width) else width)


def _triangle(z):
    z = ops.clip(z, -1.0, 1.0)
    return z - 0.5 * z * ops.abs(z)


def _fast_sigmoid(z):
    z = ops.clip(z, -FAR, FAR)
    return 0.5 * z / (1.0 + ops.abs(z))


def _integral(derivative):
    """A function that is 0, with this first derivative and with the right second one.

    The trapezoid from a constant copy of `z` to `z` itself. Piece by piece primitives would have
    derivatives that differ between frameworks where the pieces meet.
    """

    def primitive(z):
        z = ops.clip(z, -FAR, FAR)
        here = ops.stop_gradient(z)
        return 0.5 * (z - here) * (derivative(z) + derivative(here))

    return primitive


# Half precision has no numbers much larger; every derivative is nearly 0 out there.
FAR = 1e4
_PRIMITIVES = {
    "triangle": _triangle,
    "rectangle": lambda z: ops.clip(z, -0.5, 0.5),
    "sigmoid": ops.sigmoid,
    "arctan": lambda z: ops.arctan(0.5 * math.pi * z) / math.pi,
    "fast_sigmoid": _fast_sigmoid,
    "piecewise_exponential": _integral(lambda z: 0.5 * ops.exp(-ops.abs(z))),
}
# What each bounded primitive in closed form comes from, far below the threshold.
_SMALLEST = {
    "triangle": -0.5,
    "rectangle": -0.5,
    "sigmoid": 0.0,
    "arctan": -0.5,
    "fast_sigmoid": -0.5,
}
_DERIVATIVES = {
    "triangle": lambda z: ops.relu(1.0 - ops.abs(z)),
    "rectangle": lambda z: ops.cast(ops.abs(z) <= 0.5, z.dtype),
    "sigmoid": lambda z: ops.sigmoid(z) * ops.sigmoid(-z),
    "arctan": lambda z: 0.5 / (1.0 + ops.square(0.5 * math.pi * ops.clip(z, -FAR, FAR))),
    "fast_sigmoid": lambda z: 0.5 / ops.square(1.0 + ops.abs(ops.clip(z, -FAR, FAR))),
    "piecewise_exponential": lambda z: 0.5 * ops.exp(-ops.abs(z)),
}
_USUAL_WIDTHS = {
    "triangle": 1.0,
    "rectangle": 1.0,
    "sigmoid": 0.25,
    "arctan": 0.5,
    "fast_sigmoid": 0.5,
    "piecewise_exponential": 1.0,
}
