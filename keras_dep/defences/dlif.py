"""Gains per step and a penalty on perturbed membranes (DLIF)."""

from keras_dep.defences.defence import Defence
from keras_dep.defences.registry import register
from keras_dep.layers import DLIF


@register
def dlif() -> Defence:
    """Scales the input of every neuron by a learnt gain per step; see `keras_dep.layers.DLIF`.

    Args:
        none:

    Raises:
        ValueError: none.

    Example:

    >>> dlif().neuron.__name__
    'DLIF'
    """
    return Defence(neuron=DLIF)
