"""Surrogate gradients: a spike is 0 or 1, and its derivatives are those of a smooth primitive.

`spike(x) = step(x) + (g(x) - stop_gradient(g(x)))` for a bounded primitive `g`. The bracket is
exactly zero, so the forward value is the step; the first and second derivatives are those of `g`,
in forward and reverse mode, on every backend. A custom gradient would give wrong Hessian-vector
products on two of the three backends.
"""

import math
from collections.abc import Callable
from typing import TypeAlias

from keras import ops

from keras_dep import _backend
from keras_dep._internal import validation
from keras_dep._internal.types import Tensor

Function: TypeAlias = Callable[[Tensor], Tensor]


def spike(x: Tensor, surrogate: str = "triangle", width: float | Tensor = 1.0) -> Tensor:
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
        width: positive float in the units of `x`, or a tensor of positive floats, which is not
            checked. A steepness `alpha` of other libraries is `1 / width`.

    Returns:
        Tensor like `x` of zeros and ones. Where `x` is not finite, it and its derivative are NaN.

    Raises:
        ValueError: unknown name or a width that is not positive.

    Source: Neftci et al. 2019 (surrogate gradients); Zenke and Ganguli 2018 (`fast_sigmoid`);
    Shrestha and Orchard 2018 (`piecewise_exponential`).

    Example:

    >>> ops.convert_to_numpy(spike(ops.array([-0.5, 0.0, 0.5]))).tolist()
    [0.0, 1.0, 1.0]
    """
    return step(x, _PRIMITIVES[check(surrogate, width)](_stretched(x, width)))


def step(x: Tensor, smooth: Tensor) -> Tensor:
    """Heaviside step of `x` with the derivatives of `smooth`.

    Args:
        x: float tensor.
        smooth: a differentiable function of `x`, finite where `x` is finite.

    Returns:
        Tensor like `x` of zeros and ones. Where `x` is not finite, it and its derivative are NaN.

    Example:

    >>> x = ops.array([-0.5, 0.5])
    >>> ops.convert_to_numpy(step(x, ops.sigmoid(x))).tolist()
    [0.0, 1.0]
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


def undefined(x: Tensor) -> Tensor:
    """Zeros without derivative; where `x` is not finite, NaN with a derivative of NaN.

    Add it to a result that hides a NaN, such as that of a comparison.

    Example:

    >>> ops.convert_to_numpy(undefined(ops.array([1.0, math.inf, math.nan]))).tolist()
    [0.0, nan, nan]
    """
    return _backend.marked(ops.zeros_like(x), ops.stop_gradient(x)) * x


def derivative(surrogate: str, width: float | Tensor = 1.0) -> Function | None:
    """The first derivative of `spike`, as a function of finite `x`.

    Args:
        surrogate: one of `names()`.
        width: as in `spike`.

    Returns:
        The function, or `None` for a surrogate registered only by its primitive.

    Raises:
        ValueError: unknown name or a width that is not positive.

    Example:

    >>> ops.convert_to_numpy(derivative("triangle")(ops.array([-0.5, 0.0, 2.0]))).tolist()
    [0.5, 1.0, 0.0]
    """
    shape = _DERIVATIVES.get(check(surrogate, width))
    if shape is None or (not ops.is_tensor(width) and width == 1):
        return shape
    return lambda x: _stretched(shape(_stretched(x, width)), width)


def register(
    name: str,
    primitive: Function | None = None,
    derivative: Function | None = None,
    usual_width: float = 1.0,
) -> None:
    """Adds a surrogate under a name, for every layer and flag that takes one.

    A process that loads a model saved with it must register it first.

    Args:
        name: a string that is not taken.
        primitive: `G`, a function of the stretched potential `z`, made of `keras.ops`.
        derivative: `G'` instead, if the primitive has no closed form. The second derivative is then
            the framework's derivative of `G'`.
        usual_width: default width.

    Raises:
        ValueError: a name that is taken, not exactly one function, or a width that is not positive.

    Example:

    >>> register("cauchy", derivative=lambda z: 1 / (math.pi * (1 + z * z)))
    >>> ops.convert_to_numpy(spike(ops.array([-0.5, 0.5]), "cauchy")).tolist()
    [0.0, 1.0]
    """
    if name in _PRIMITIVES or not isinstance(name, str):
        raise ValueError(f"name must be a string not taken yet; received {name!r}; choose another.")
    if primitive is not None and derivative is None:
        function = primitive
    elif derivative is not None and primitive is None:
        function = _integral(derivative)
    else:
        raise ValueError(
            f"one of primitive and derivative must be given; received primitive={primitive!r}, "
            f"derivative={derivative!r}."
        )
    _check_width(usual_width)
    _PRIMITIVES[name] = function
    _DERIVATIVES[name] = derivative
    _USUAL_WIDTHS[name] = usual_width


def names() -> tuple[str, ...]:
    """Names of the surrogates, in the order of the table in `spike`.

    Example:

    >>> names()[0]
    'triangle'
    """
    return tuple(_PRIMITIVES)


def usual_width(surrogate: str) -> float:
    """The default width of a surrogate, the usual one of the literature.

    Args:
        surrogate: one of `names()`.

    Returns:
        The width, in units of the potential.

    Raises:
        ValueError: unknown name.

    Example:

    >>> usual_width("arctan")
    0.5
    """
    return _USUAL_WIDTHS[check(surrogate)]


def check(surrogate: str, width: float | Tensor = 1.0) -> str:
    """Returns `surrogate` if name and width are valid, and raises `ValueError` otherwise."""
    mend = "keras_dep.surrogates.register adds one of your own"
    validation.one_of("surrogate", surrogate, names(), mend)
    _check_width(width)
    return surrogate


def _check_width(width: float | Tensor) -> None:
    if not ops.is_tensor(width) and not 0 < width < math.inf:
        raise ValueError(
            f"width must be a positive finite number; received {width!r}; a usual one is 1.0."
        )


def _stretched(x: Tensor, width: float | Tensor) -> Tensor:
    return x / (ops.cast(width, x.dtype) if ops.is_tensor(width) else width)


def _triangle(z: Tensor) -> Tensor:
    z = ops.clip(z, -1.0, 1.0)
    return z - 0.5 * z * ops.abs(z)


def _fast_sigmoid(z: Tensor) -> Tensor:
    z = ops.clip(z, -FAR, FAR)
    return 0.5 * z / (1.0 + ops.abs(z))


def _integral(derivative: Function) -> Function:
    """A function of value 0 with a given first derivative and the right second derivative.

    It is the trapezoid from a constant copy of `z` to `z`. Piecewise primitives would have
    derivatives that differ between frameworks where the pieces meet.
    """

    def primitive(z: Tensor) -> Tensor:
        z = ops.clip(z, -FAR, FAR)
        here = ops.stop_gradient(z)
        return 0.5 * (z - here) * (derivative(z) + derivative(here))

    return primitive


# Near the largest number of half precision; every derivative is nearly 0 beyond.
FAR = 1e4
_PRIMITIVES: dict[str, Function] = {
    "triangle": _triangle,
    "rectangle": lambda z: ops.clip(z, -0.5, 0.5),
    "sigmoid": ops.sigmoid,
    "arctan": lambda z: ops.arctan(0.5 * math.pi * z) / math.pi,
    "fast_sigmoid": _fast_sigmoid,
    "piecewise_exponential": _integral(lambda z: 0.5 * ops.exp(-ops.abs(z))),
}
# Limit far below the threshold of each bounded primitive in closed form.
_SMALLEST = {
    "triangle": -0.5,
    "rectangle": -0.5,
    "sigmoid": 0.0,
    "arctan": -0.5,
    "fast_sigmoid": -0.5,
}
_DERIVATIVES: dict[str, Function | None] = {
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
