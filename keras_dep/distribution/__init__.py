"""One run over several processes or devices, on the engine of the framework."""

from keras_dep.distribution.engines import ENGINES
from keras_dep.distribution.engines import check_batch
from keras_dep.distribution.engines import start
from keras_dep.distribution.engines import workers
from keras_dep.distribution.sharing import OwnShares
from keras_dep.distribution.sharing import WholeLogs
from keras_dep.distribution.sharing import own_share
from keras_dep.distribution.sharing import spread

__all__ = [
    "ENGINES",
    "OwnShares",
    "WholeLogs",
    "check_batch",
    "own_share",
    "spread",
    "start",
    "workers",
]
