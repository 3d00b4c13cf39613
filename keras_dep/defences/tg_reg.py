"""Regularised gradients of every step in the input (TG-Reg)."""

from keras_dep.defences.defence import Defence
from keras_dep.defences.registry import register
from keras_dep.training import TemporalInputGradient


@register
def tg_reg(strength: float = 100.0, gradient_of: str = "batch") -> Defence:
    """Penalises the mean squared l2 norm of the gradient of each step in its own frame.

    See `keras_dep.training.TemporalInputGradient`.

    Args:
        strength: weight of the penalty, not negative; the released code has 100.
        gradient_of: `"batch"` or `"sample"`: the loss whose gradient is penalised.

    Raises:
        ValueError: an option outside its limits.

    Example:

    >>> tg_reg(strength=10.0).loss_terms[0].strength
    10.0
    """
    return Defence(loss_terms=(TemporalInputGradient(strength, gradient_of),))
