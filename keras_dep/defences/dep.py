"""Dominant Eigencomponent Projection, the paper's method."""

from keras_dep.defences.defence import REMOVES
from keras_dep.defences.defence import Defence
from keras_dep.defences.registry import register
from keras_dep.optimizers import DEP


@register
def dep() -> Defence:
    """Removes the leading singular component of every weight gradient; see `keras_dep.DEP`.

    Source: arXiv 2505.11134, Eq. 12 to 15.

    Example:

    >>> from keras_dep.defences import TrainingPlan
    >>> type(dep().wrapped("sgd", TrainingPlan())).__name__
    'DEP'
    """
    return Defence(
        optimizer=lambda inner, plan: DEP(inner, rank_one=plan.rank_one),
        alone=REMOVES,
    )
