"""Frequency encoding and evolutionary leaks (FEEL-SNN)."""

import functools
from typing import Any

from keras_dep.defences.defence import Defence
from keras_dep.defences.registry import register
from keras_dep.layers import EvolutionaryLeakLIF
from keras_dep.layers import FrequencyEncoding
from keras_dep.layers.frequency_encoding import check_radii


@register
def feel(
    radii: tuple | None = None,
    leak: float | None = None,
    mask: str = "symmetric",
    part: str = "real",
    encode: bool = True,
    learn_leaks: bool = True,
) -> Defence:
    """Shows each step a stronger low-pass of the image, and learns a leak per neuron and step.

    See `keras_dep.layers.FrequencyEncoding` and `keras_dep.layers.EvolutionaryLeakLIF`. Leaks start
    at the decay of the settings, so that networks differ by the method alone. Published is
    `leak=1.0` with hard reset.

    With both parts left out it is plain training.

    Args:
        radii: the radius of each step; default: those that suit the image.
        leak: start of the leaks, in [0, 1]; default: the decay of the settings.
        mask: `"symmetric"`, or `"half_open"` as in the released code.
        part: `"real"`, or `"magnitude"` as in the released code.
        encode: whether to low-pass the image.
        learn_leaks: whether to learn leaks.

    Raises:
        ValueError: an option outside its limits.

    Source: Xu et al., NeurIPS 2024, and its released code.

    Example:

    >>> feel(radii=(4, 2)).encoder(timesteps=2).radii
    (4, 2)
    """
    if radii is not None:
        check_radii(radii)
    FrequencyEncoding(1, mask=mask, part=part)
    EvolutionaryLeakLIF(1, decay=leak)

    def neuron(tau: float | None = None, **options: Any) -> EvolutionaryLeakLIF:
        start = {"tau": tau} if leak is None else {"decay": leak}
        return EvolutionaryLeakLIF(**start, **options)

    encoder = functools.partial(FrequencyEncoding, radii=radii, mask=mask, part=part)
    return Defence(neuron=neuron if learn_leaks else None, encoder=encoder if encode else None)
