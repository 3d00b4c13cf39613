"""Removes the second singular component of every weight gradient."""

from keras_dep.defences.defence import REMOVES
from keras_dep.defences.defence import Defence
from keras_dep.defences.registry import register
from keras_dep.optimizers import SecondComponentRemoval


@register
def second_component() -> Defence:
    """Removes the second singular component of every weight gradient.

    A control of DEP, see `keras_dep.optimizers.SecondComponentRemoval`.

    Example:

    >>> from keras_dep.defences import TrainingPlan
    >>> type(second_component().wrapped("sgd", TrainingPlan())).__name__
    'SecondComponentRemoval'
    """
    return Defence(
        optimizer=lambda inner, plan: SecondComponentRemoval(inner, rank_one=plan.rank_one),
        alone=REMOVES,
    )
