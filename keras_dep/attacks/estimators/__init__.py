"""By what rule an attack derives the spikes of a network, which have no derivative of their own."""

from keras_dep.attacks.estimators.assg import ASSG
from keras_dep.attacks.estimators.conversion import Conversion
from keras_dep.attacks.estimators.estimator import Estimator
from keras_dep.attacks.estimators.estimator import Surrogate
from keras_dep.attacks.estimators.hart import HART
from keras_dep.attacks.estimators.pdsg import PDSG
from keras_dep.attacks.estimators.rate import BPTR
from keras_dep.attacks.estimators.rate import RGA

ESTIMATORS = {
    "assg": ASSG,
    "bptr": BPTR,
    "conversion": Conversion,
    "hart": HART,
    "pdsg": PDSG,
    "rga": RGA,
}


def named(estimator):
    """An estimator as it is, or the one of a name with its published settings.

    Raises:
        ValueError: neither an `Estimator` nor a name in `ESTIMATORS`.
    """
    if isinstance(estimator, Estimator):
        return estimator
    if estimator not in ESTIMATORS:
        raise ValueError(
            f"estimator must be one of {', '.join(ESTIMATORS)}, or an object of those of "
            f"keras_dep.attacks; received {estimator!r}."
        )
    return ESTIMATORS[estimator]()


__all__ = [
    "ASSG",
    "BPTR",
    "Conversion",
    "Estimator",
    "ESTIMATORS",
    "HART",
    "named",
    "PDSG",
    "RGA",
    "Surrogate",
]
