"""Threshold-guarding optimisation."""

import functools
import math

from keras_dep.defences.defence import Defence
from keras_dep.defences.penalty_schedule import PenaltySchedule
from keras_dep.defences.registry import register
from keras_dep.layers import GuardedLIF


@register
def tgo(
    strength: float = 0.6, delta: float = 0.3, sigma: float = 0.2, noise: str = "training"
) -> Defence:
    """Keeps potentials away from the threshold by a penalty, and adds noise to the charge.

    See `keras_dep.layers.GuardedLIF`. The penalties of the layers are summed. Their weight rises
    along half a cosine, to `strength` at the last epoch. Published is a `strength` of 0.6 for
    VGG-11 and 0.4 for WRN-16, but neither `delta` and `sigma` nor whether inference is noisy.

    Potentials pushed away from the threshold leave little surrogate gradient: evaluate it with the
    reliable suite, whose attacks use wide surrogates and none.

    Args:
        strength: weight of the penalty at the end, not negative.
        delta: half-width of the guarded band in units of the potential.
        sigma: standard deviation of the noise.
        noise: `"training"`, `"always"` or `"never"`.

    Raises:
        ValueError: an option outside its limits.

    Source: arXiv 2602.20548 (ICLR 2026); there is no released code.

    Example:

    >>> tgo(strength=0.0, sigma=0.0).neuron is None
    True
    """
    GuardedLIF(1, delta=delta, sigma=sigma, noise=noise, strength=strength)
    if not strength and (not sigma or noise == "never"):
        return Defence()
    return Defence(
        neuron=functools.partial(GuardedLIF, delta=delta, sigma=sigma, noise=noise),
        callbacks=lambda network, plan: [
            PenaltySchedule(network, lambda epoch: strength * _risen(epoch, plan.epochs))
        ],
    )


def _risen(epoch: int, epochs: int) -> float:
    return 0.5 * (1 - math.cos(math.pi * (epoch + 1) / epochs))
