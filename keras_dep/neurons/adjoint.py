"""Spikes of leaky integrate-and-fire neurons, and their first derivative written out.

Where nothing fuses the operations of the unrolled program, its automatic derivative costs a dozen
passes over every step's potentials. This one costs half as many, and keeps the potentials alone.
Currents and spikes may be of half precision; what lies between is not.
"""

from keras import ops


def forward(currents, decay, threshold, soft, dtype="float32"):
    """Spikes of currents `(T, ...)`; of each step the potentials ahead of the reset, and behind.

    Spikes are of the currents' type, potentials of `dtype`.
    """
    spikes, potentials, kept = [], [], []
    for current in ops.unstack(currents):
        potential = ops.cast(current, dtype)
        if kept:
            potential = decay * kept[-1] + potential
        fired = ops.cast(potential >= threshold, dtype)
        spikes.append(ops.cast(fired, currents.dtype))
        potentials.append(potential)
        kept.append(_reset(potential, fired, threshold, soft))
    return ops.stack(spikes), tuple(potentials), tuple(kept)


def _reset(potential, fired, threshold, soft):
    if not soft:
        return potential - fired * potential
    # A number that is 1, as thresholds mostly are, saves a product.
    one = isinstance(threshold, (int, float)) and threshold == 1
    return potential - (fired if one else threshold * fired)


def backward(
    gradient, potentials, decay, threshold, soft, derivative, attached, carried=True, terms=None
):
    """Gradient in the currents for one in the spikes.

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

    Returns:
        List of `T` tensors of the potentials' type.
    """
    results, later = [], None
    for direct, potential in zip(reversed(ops.unstack(gradient)), reversed(potentials)):
        direct = ops.cast(direct, potential.dtype)
        if later is not None and attached:
            direct = direct - later * (threshold if soft else potential)
        result = fired = direct * derivative(potential - threshold)
        if later is not None:
            passed = later if soft else ops.where(potential >= threshold, 0.0, later)
            result = passed + fired
        if terms is not None:
            terms.append(fired)
            if later is not None and soft:
                terms.append(ops.where(potential >= threshold, later, 0.0))
        results.append(result)
        if carried:
            later = decay * result
    return results[::-1]
