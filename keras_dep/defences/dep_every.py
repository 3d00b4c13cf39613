"""DEP at every k-th step."""

from keras_dep._internal import validation
from keras_dep.defences.defence import REMOVES
from keras_dep.defences.defence import Defence
from keras_dep.defences.registry import register
from keras_dep.optimizers import PeriodicDEP


@register
def dep_every(k: int = 2) -> Defence:
    """Removes the leading singular component at every k-th step only.

    A control of DEP, see `keras_dep.optimizers.PeriodicDEP`.

    Args:
        k: the period in updates, at least 1.

    Raises:
        ValueError: `k` below 1.

    Example:

    >>> from keras_dep.defences import TrainingPlan
    >>> dep_every(k=4).wrapped("sgd", TrainingPlan()).every
    4
    """
    validation.whole_number("k", k)
    return Defence(
        optimizer=lambda inner, plan: PeriodicDEP(inner, every=k, rank_one=plan.rank_one),
        alone=REMOVES,
    )
