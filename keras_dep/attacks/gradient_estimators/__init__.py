"""Rules for the derivative of spikes in attacks: spikes have none of their own."""

from typing import Any

import keras

from keras_dep._internal.types import Record
from keras_dep.attacks.gradient_estimators.assg import ASSG
from keras_dep.attacks.gradient_estimators.base import Estimator
from keras_dep.attacks.gradient_estimators.base import Surrogate
from keras_dep.attacks.gradient_estimators.conversion import Conversion
from keras_dep.attacks.gradient_estimators.hart import HART
from keras_dep.attacks.gradient_estimators.pdsg import PDSG
from keras_dep.attacks.gradient_estimators.rate import BPTR
from keras_dep.attacks.gradient_estimators.rate import RGA

ESTIMATORS: dict[str, type[Estimator]] = {
    "assg": ASSG,
    "bptr": BPTR,
    "conversion": Conversion,
    "hart": HART,
    "pdsg": PDSG,
    "rga": RGA,
}


def named(estimator: str | Estimator | Record) -> Estimator:
    """An estimator as it is, by name with its published settings, or from its `get_config`.

    Args:
        estimator: an `Estimator`, a name in `ESTIMATORS`, or what `get_config` of one gave.

    Returns:
        The estimator.

    Raises:
        ValueError: anything else.

    Example:

    >>> named(named(RGA(subthreshold=0.1)).get_config())
    RGA(subthreshold=0.1)
    """
    if isinstance(estimator, Estimator):
        return estimator
    settings = dict(estimator) if isinstance(estimator, dict) else {"rule": estimator}
    name = settings.pop("rule", None)
    kind: Any = ESTIMATORS.get(str(name)) or keras.saving.get_registered_object(name)
    if not (isinstance(kind, type) and issubclass(kind, Estimator)):
        raise ValueError(
            f"estimator must be one of {', '.join(ESTIMATORS)}, or an object of those of "
            f"keras_dep.attacks; received {name!r}."
        )
    return kind(**settings)


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
