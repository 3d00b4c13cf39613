"""Spikes of leaky integrate-and-fire neurons, and their first derivative written out.

Where nothing fuses the operations of the unrolled program, its automatic derivative costs a dozen
passes over every step's potentials. This one costs half as many, and keeps the potentials alone.
"""

from keras import ops


def forward(currents, decay, threshold, soft):
    """Spikes of currents `(T, ...)`, and of each step the potentials ahead of the reset."""
    spikes, potentials, kept = [], [], None
    for current in ops.unstack(currents):
        potential = current if kept is None else decay * kept + current
        fired = ops.cast(potential >= threshold, potential.dtype)
        spikes.append(fired)
        potentials.append(potential)
        kept = _reset(potential, fired, threshold, soft)
    return ops.stack(spikes), tuple(potentials)


def _reset(potential, fired, threshold, soft):
    if not soft:
        return potential - fired * potential
    # A number that is 1, as thresholds mostly are, saves a product.
    one = isinstance(threshold, (int, float)) and threshold == 1
    return potential - (fired if one else threshold * fired)


def backward(gradient, potentials, decay, threshold, soft, derivative, attached, carried=True):
    """Gradient in the currents for one in the spikes.

    Args:
        gradient: tensor `(T, ...)`.
        potentials: of each step, as from `forward`.
        decay: share of the membrane that a step keeps, a number or a tensor that fits.
        threshold: firing threshold, likewise.
        soft: whether the reset subtracts the threshold, and does not clear the membrane.
        derivative: the surrogate's, a function of the potential minus the threshold.
        attached: whether the reset's own spike is derived too.
        carried: whether the gradient passes from a step to the one before.

    Returns:
        Tensor `(T, ...)`.
    """
    results, later = [], None
    for direct, potential in zip(reversed(ops.unstack(gradient)), reversed(potentials)):
        slope = derivative(potential - threshold)
        if later is None or not carried:
            result = direct * slope
        else:
            passed = later if soft else ops.where(potential >= threshold, 0.0, later)
            if attached:
                direct = direct - later * (threshold if soft else potential)
            result = passed + direct * slope
        results.append(result)
        later = decay * result
    return ops.stack(results[::-1])


def backward_in_constants(
    gradient, found, potentials, decay, threshold, soft, derivative, attached, carried=True
):
    """Gradients in decay and threshold, of every neuron at every step.

    Args:
        gradient: tensor `(T, ...)`.
        found: what `backward` makes of it.
        potentials, decay, threshold, soft, derivative, attached, carried: as in `backward`.

    Returns:
        `(in_decay, in_threshold)`, tensors `(T, ...)` to be summed.
    """
    potentials = ops.stack(potentials)
    fired = ops.cast(potentials >= threshold, potentials.dtype)
    kept = _reset(potentials, fired, threshold, soft)
    nothing = ops.zeros_like(found[:1])
    in_decay = found * ops.concatenate([nothing, kept[:-1]])
    if carried:
        later = decay * ops.concatenate([found[1:], nothing])
        if attached:
            gradient = gradient - later * (threshold if soft else potentials)
    in_threshold = -gradient * derivative(potentials - threshold)
    if carried and soft:
        in_threshold = in_threshold - later * fired
    return in_decay, in_threshold
