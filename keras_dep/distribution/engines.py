"""Starting an engine, and the workers that it gives."""

import keras

from keras_dep import _backend
from keras_dep._backend.workers import Workers
from keras_dep._internal import validation

# The engines, and the backend of each.
ENGINES = {"ddp": "torch"}
STATISTICS = ("synchronised", "local")


def start(engine: str, statistics: str = "synchronised") -> Workers:
    """Joins the workers of a run; call it once, before the framework computes anything.

    Each worker then trains on its part of each batch, and all keep the same weights: optimizers of
    this package see the gradient of the whole batch. The chief, number 0, alone writes files.

    Args:
        engine: `"ddp"`: processes on torch, started by torchrun.
        statistics: batch statistics of the normalisation layers of this package: `"synchronised"`,
            those of the whole batch, as one process takes; `"local"`, each part by its own, as
            torch's and Keras' layers do by default. The running statistics are the same on all
            workers: they follow the mean of the parts.

    Returns:
        The `Workers`, with `rank`, `count` and `chief`.

    Raises:
        ValueError: an unknown engine, one of another backend, or a start without its launcher.

    Example:

    >>> start("horovod")
    Traceback (most recent call last):
    ...
    ValueError: distribute must be one of ddp; received 'horovod'.
    """
    validation.one_of("distribute", engine, ENGINES)
    validation.one_of("statistics", statistics, STATISTICS)
    if engine not in _backend.ENGINES:
        raise ValueError(
            f"distribute={engine} needs the backend {ENGINES[engine]}; received "
            f"{keras.config.backend()}; set KERAS_BACKEND={ENGINES[engine]}."
        )
    joined = _backend.ENGINES[engine]()
    joined.synchronised = statistics == "synchronised"
    _backend.use_workers(joined)
    return joined


def workers() -> Workers:
    """The workers of this run; a single one where no engine was started.

    Example:

    >>> workers().count, workers().chief
    (1, True)
    """
    return _backend.workers()


def check_batch(size: int) -> None:
    """Checks that a batch has an equal part for each worker.

    Args:
        size: images per batch.

    Raises:
        ValueError: it has not.

    Example:

    >>> check_batch(7)
    """
    parts = workers().count
    if size % parts:
        raise ValueError(
            f"batch_size must be a multiple of {parts}, the workers; received {size}; "
            f"choose {max(1, size // parts) * parts}."
        )
