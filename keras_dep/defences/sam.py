"""Sharpness-aware minimisation (SAM)."""

from keras_dep.defences.defence import Defence
from keras_dep.defences.registry import register
from keras_dep.training import SharpnessAware


@register
def sam(rho: float = 0.05, surrogate: str | None = None, width: float | None = None) -> Defence:
    """Takes the gradient at weights moved uphill by `rho`; two passes a step.

    See `keras_dep.training.SharpnessAware`. A control of DEP, which is said to act through
    sharpness.

    Args:
        rho: distance of the ascent step, not negative.
        surrogate: name of a surrogate whose smooth primitive takes the place of the step in the
            first pass; default: the spiking network itself.
        width: width of that surrogate.

    Raises:
        ValueError: an option outside its limits.

    Example:

    >>> sam(rho=0.1).sharpness.rho
    0.1
    """
    return Defence(sharpness=SharpnessAware(rho, surrogate, width))
