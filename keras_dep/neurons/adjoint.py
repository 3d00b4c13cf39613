"""Spikes of leaky integrate-and-fire neurons, and their first derivative written out.

Where nothing fuses the operations of the unrolled program, its automatic derivative costs a dozen
passes over every step's potentials. This one costs half as many, and keeps the potentials alone.
"""

from keras import ops


def forward(currents, decay, threshold, soft):
    """`(spikes, potentials)` of currents `(T, ...)`, potentials ahead of the reset."""
    spikes, potentials, kept = [], [], None
    for current in ops.unstack(currents):
        potential = current if kept is None else decay * kept + current
        fired = ops.cast(potential >= threshold, potential.dtype)
        spikes.append(fired)
        potentials.append(potential)
        kept = potential - threshold * fired if soft else (1.0 - fired) * potential
    return ops.stack(spikes), ops.stack(potentials)


def backward(gradient, potentials, decay, threshold, soft, derivative, attached):
    """Gradient in the currents for one in the spikes.

    Args:
        gradient: tensor `(T, ...)`.
        potentials: as from `forward`.
        decay: share of the membrane that the gradient passes to the step before; 0 cuts it.
        threshold: firing threshold.
        soft: whether the reset subtracts the threshold, and does not clear the membrane.
        derivative: the surrogate's, a function of the potential minus the threshold.
        attached: whether the reset's own spike is derived too.

    Returns:
        Tensor `(T, ...)`.
    """
    slopes = derivative(potentials - threshold)
    if decay == 0:
        return gradient * slopes
    results, later = [], None
    for direct, slope, potential in zip(
        *(reversed(ops.unstack(tensor)) for tensor in (gradient, slopes, potentials))
    ):
        if later is None:
            result = direct * slope
        else:
            passed = later if soft else ops.where(potential >= threshold, 0.0, later)
            if attached:
                direct = direct - later * (threshold if soft else potential)
            result = passed + direct * slope
        results.append(result)
        later = decay * result
    return ops.stack(results[::-1])
