"""Spikes of leaky integrate-and-fire neurons, and their first derivative by hand.

Without operator fusion the automatic derivative of the unrolled program costs a dozen passes over
the potentials of every step. This one costs half as many, and keeps only the potentials. Currents
and spikes may have half precision; membranes have float32 or float64.
"""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

from keras import ops

from keras_dep import _backend
from keras_dep._internal.types import Tensor


def forward(
    currents: Tensor,
    decay: Any,
    threshold: Any,
    soft: bool,
    dtype: str = "float32",
    kept: list[Tensor] | None = None,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Spikes, and the potentials of each step before the reset.

    Args:
        currents: tensor `(T, ...)`.
        decay: share of the membrane that a step keeps, a number or a tensor that broadcasts.
        threshold: firing threshold, likewise.
        soft: whether the reset subtracts the threshold; otherwise it sets the membrane to 0.
        dtype: dtype of the potentials.
        kept: a list to which the membrane after each reset but the last is appended, or `None`.

    Returns:
        Spikes `(T, ...)` in the dtype of the currents, and `T` potentials. If a potential is not
        finite, its spike and all later ones are NaN.
    """
    spikes: list[Tensor] = []
    potentials: list[Tensor] = []
    fired = None
    for current in ops.unstack(currents):
        potential = ops.cast(current, dtype)
        if potentials:
            membrane = _reset(potentials[-1], fired, threshold, soft)
            potential = decay * membrane + potential
            if kept is not None:
                kept.append(membrane)
        fired = _backend.fires(potential, threshold)
        spikes.append(ops.cast(fired, currents.dtype))
        potentials.append(potential)
    return ops.stack(spikes), tuple(potentials)


def _reset(potential: Tensor, fired: Tensor, threshold: Any, soft: bool) -> Tensor:
    if not soft:
        return potential - fired * potential
    # Skip the product for the usual threshold of 1.
    one = isinstance(threshold, (int, float)) and threshold == 1
    return potential - (fired if one else threshold * fired)


def backward(
    gradient: Tensor,
    potentials: Sequence[Tensor],
    decay: Any,
    threshold: Any,
    soft: bool,
    derivative: Callable[[Tensor], Tensor],
    attached: bool,
    carried: bool = True,
    terms: list[Tensor] | None = None,
) -> Iterator[Tensor]:
    """Gradients with respect to the currents, from the last step to the first.

    Args:
        gradient: gradient with respect to the spikes, `(T, ...)`, of any dtype.
        potentials: potentials of each step before the reset, as from `forward`.
        decay: as in `forward`.
        threshold: as in `forward`.
        soft: as in `forward`.
        derivative: the surrogate derivative, a function of the potential minus the threshold.
        attached: whether the gradient flows through the spike in the reset.
        carried: whether the gradient flows from a step to the one before.
        terms: a list to which the terms of minus the threshold's gradient are appended, or `None`.

    Yields:
        `T` tensors of the potentials' dtype.
    """
    later = None
    for direct, potential in zip(reversed(ops.unstack(gradient)), reversed(potentials)):
        direct = ops.cast(direct, potential.dtype)
        if later is not None and attached:
            direct = direct - later * (threshold if soft else potential)
        fired = direct * derivative(potential - threshold)
        # Keep an infinite potential visible: most derivatives are 0 there.
        result = fired = _backend.marked(fired, potential)
        if later is not None:
            passed = later if soft else ops.where(potential >= threshold, 0.0, later)
            result = passed + fired
        if terms is not None:
            terms.append(fired)
            if later is not None and soft:
                terms.append(ops.where(potential >= threshold, later, 0.0))
        yield result
        if carried:
            later = decay * result
