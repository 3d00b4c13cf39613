"""Frequency encoding and evolutionary leaks (FEEL-SNN)."""

import functools
from typing import Any

from keras_dep.defences.defence import Defence
from keras_dep.defences.registry import register
from keras_dep.layers import EvolutionaryLeakLIF
from keras_dep.layers import FrequencyEncoding


@register
def feel(
    radii: tuple | None = None,
    leak: float | None = None,
    mask: str = "symmetric",
    part: str = "real",
) -> Defence:
    """Shows each step a stronger low-pass of the image, and learns a leak per neuron and step.

    See `keras_dep.layers.FrequencyEncoding` and `keras_dep.layers.EvolutionaryLeakLIF`. Leaks start
    at the decay of the settings, so that networks differ by the method alone; published: 1.0, which
    `leak=1.0` gives, with hard reset.

    Args:
        radii: the radius of each step; default: those that suit the image.
        leak: start of the leaks, in [0, 1]; default: the decay of the settings.
        mask: `"symmetric"`, or `"half_open"` as in the released code.
        part: `"real"`, or `"magnitude"` as in the released code.

    Raises:
        ValueError: an option outside its limits.

    Example:

    >>> feel(radii=(4, 2)).encoder(timesteps=2).radii
    (4, 2)
    """
    FrequencyEncoding(1 if radii is None else len(radii), radii, mask, part)

    def neuron(tau: float | None = None, **options: Any) -> EvolutionaryLeakLIF:
        start = {"tau": tau} if leak is None else {"decay": leak}
        return EvolutionaryLeakLIF(**start, **options)

    return Defence(
        neuron=neuron,
        encoder=functools.partial(FrequencyEncoding, radii=radii, mask=mask, part=part),
    )
