"""Clipping of the gradient's global norm."""

from keras_dep.defences.defence import Defence
from keras_dep.defences.registry import register
from keras_dep.optimizers import GlobalNormClipping


@register
def clip(max_norm: float = 1.0) -> Defence:
    """Scales the gradient of all weights together to a norm of at most `max_norm`.

    A control of DEP, see `keras_dep.optimizers.GlobalNormClipping`.

    Args:
        max_norm: the largest norm, positive.

    Raises:
        ValueError: `max_norm` is not positive.

    Example:

    >>> from keras_dep.defences import TrainingPlan
    >>> clip(max_norm=0.5).wrapped("sgd", TrainingPlan()).max_norm
    0.5
    """
    GlobalNormClipping("sgd", max_norm)
    return Defence(optimizer=lambda inner, plan: GlobalNormClipping(inner, max_norm))
