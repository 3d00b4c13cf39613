"""Crafted input noise in periods of a batch (HIRE-SNN)."""

from keras_dep.defences.defence import Defence
from keras_dep.defences.registry import register
from keras_dep.training import CraftedNoise


@register
def hire(periods: int = 2, epsilon: float = 8 / 255, step: float | None = None) -> Defence:
    """Updates the weights after each period of steps, and perturbs the image of the next period.

    See `keras_dep.training.CraftedNoise`. The source publishes neither the radii nor the number of
    periods per data set: try 2 and 4 periods with an `epsilon` of 4/255 and 8/255.

    Args:
        periods: number of periods, which divides the time steps; 1 is plain training.
        epsilon: radius of the noise, in pixel units, not negative.
        step: its step after each period, positive; default: `epsilon`.

    Raises:
        ValueError: an option outside its limits.

    Source: Kundu, Pedram, Beerel, ICCV 2021.

    Example:

    >>> hire(periods=4).replay.periods
    4
    """
    replay = CraftedNoise(periods, epsilon, step)
    return Defence(replay=replay) if replay.active else Defence()
