"""Subtracts a random rank-one component of the energy that DEP removes."""

from keras_dep.defences.defence import REMOVES
from keras_dep.defences.defence import Defence
from keras_dep.defences.registry import register
from keras_dep.optimizers import RandomRankOneRemoval


@register
def random_rank_one() -> Defence:
    """Subtracts a random rank-one component of the energy that DEP removes.

    A control of DEP, see `keras_dep.optimizers.RandomRankOneRemoval`.

    Example:

    >>> from keras_dep.defences import TrainingPlan
    >>> type(random_rank_one().wrapped("sgd", TrainingPlan())).__name__
    'RandomRankOneRemoval'
    """
    return Defence(
        optimizer=lambda inner, plan: RandomRankOneRemoval(inner, rank_one=plan.rank_one),
        alone=REMOVES,
    )
