"""Sparse gradients in the input (SR)."""

from keras_dep.defences.defence import Defence
from keras_dep.defences.registry import register
from keras_dep.training import SparseInputGradient


@register
def sr(strength: float = 0.008, step_size: float = 0.01) -> Defence:
    """Penalises the squared l1 norm of the gradient of a logit difference in the image.

    See `keras_dep.training.SparseInputGradient`.

    Args:
        strength: weight of the penalty, not negative; 0.008 for CIFAR-10 and 0.002 for CIFAR-100
            are not confirmed by released code.
        step_size: step of the finite difference.

    Raises:
        ValueError: an option outside its limits.

    Example:

    >>> sr(strength=0.002).loss_terms[0].strength
    0.002
    """
    return Defence(loss_terms=(SparseInputGradient(strength, step_size),))
