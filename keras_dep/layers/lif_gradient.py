"""Spikes of leaky integrate-and-fire neurons, and their first derivative written out.

Where nothing fuses the operations of the unrolled program, its automatic derivative costs a dozen
passes over every step's potentials. This one costs half as many, and keeps the potentials alone.
Currents and spikes may be of half precision; what lies between is not.
"""

from keras import ops

from keras_dep import _backend


def forward(currents, decay, threshold, soft, dtype="float32", kept=None):
    """Spikes of currents `(T, ...)`, and of each step the potentials ahead of the reset.

    Spikes are of the currents' type, potentials of `dtype`. A potential that is not finite gives a
    spike of NaN, at its step and at all later ones. `kept` is a list that receives the membranes
    behind the reset that later steps begin with, or `None`.
    """
    spikes, potentials, fired = [], [], None
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


def _reset(potential, fired, threshold, soft):
    if not soft:
        return potential - fired * potential
    # A number that is 1, as thresholds mostly are, saves a product.
    one = isinstance(threshold, (int, float)) and threshold == 1
    return potential - (fired if one else threshold * fired)


def backward(
    gradient, potentials, decay, threshold, soft, derivative, attached, carried=True, terms=None
):
    """Yields the gradient in each step's currents for one in the spikes, the last step's first.

    Args:
        gradient: tensor `(T, ...)`, of any type.
        potentials: of each step, ahead of the reset, as from `forward`.
        decay: share of the membrane that a step keeps, a number or a tensor that fits.
        threshold: firing threshold, likewise.
        soft: whether the reset subtracts the threshold, and does not clear the membrane.
        derivative: the surrogate's, a function of the potential minus the threshold.
        attached: whether the reset's own spike is derived too.
        carried: whether the gradient passes from a step to the one before.
        terms: a list that receives what each step takes from the gradient in the threshold, or
            `None`.

    Yields:
        `T` tensors of the potentials' type.
    """
    later = None
    for direct, potential in zip(reversed(ops.unstack(gradient)), reversed(potentials)):
        direct = ops.cast(direct, potential.dtype)
        if later is not None and attached:
            direct = direct - later * (threshold if soft else potential)
        fired = direct * derivative(potential - threshold)
        # Most derivatives are 0 far from the threshold, and so at an infinite potential.
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
