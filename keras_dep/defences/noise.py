"""Adds Gaussian noise of the energy that DEP removes."""

from keras_dep.defences.defence import REMOVES
from keras_dep.defences.defence import Defence
from keras_dep.defences.registry import register
from keras_dep.optimizers import RemovedEnergyNoise


@register
def noise() -> Defence:
    """Adds Gaussian noise of the energy that DEP removes.

    A control of DEP, see `keras_dep.optimizers.RemovedEnergyNoise`.

    Example:

    >>> from keras_dep.defences import TrainingPlan
    >>> type(noise().wrapped("sgd", TrainingPlan())).__name__
    'RemovedEnergyNoise'
    """
    return Defence(
        optimizer=lambda inner, plan: RemovedEnergyNoise(inner, rank_one=plan.rank_one),
        alone=REMOVES,
    )
