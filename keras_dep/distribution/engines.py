"""Starting an engine, and the workers that it gives."""

import keras

from keras_dep import _backend
from keras_dep._backend.workers import Workers
from keras_dep._internal import validation

# The engines, and the backend of each.
ENGINES = {
    "ddp": "torch",
    "mirrored": "tensorflow",
    "multiworker": "tensorflow",
    "data_parallel": "jax",
}
STATISTICS = ("synchronised", "local")


def start(engine: str, statistics: str = "synchronised", devices: int | None = None) -> Workers:
    """Joins the workers of a run; call it once, before the framework computes anything.

    Each worker then trains on its part of each batch, and all keep the same weights: optimizers of
    this package see the gradient of the whole batch. The chief, number 0, alone writes files.

    Args:
        engine: `"ddp"`: processes on torch, started by torchrun; `"mirrored"`: the devices of one
            process on TensorFlow, under `MirroredStrategy`; `"multiworker"`: processes on
            TensorFlow, each started with the environment variable `TF_CONFIG`; `"data_parallel"`:
            the devices of one process on JAX, or of those that Keras' environment variables join,
            under `keras.distribution.DataParallel`.
        statistics: batch statistics of the normalisation layers of this package: `"synchronised"`,
            those of the whole batch, as one process takes; `"local"`, each part by its own, as
            torch's and Keras' layers do by default. The running statistics are the same on all
            workers: they follow the mean of the parts.
        devices: with `"mirrored"` and `"data_parallel"`, how many devices; default: all. A
            processor without GPU is divided into as many.

    Returns:
        The `Workers`, with `rank`, `count`, `devices`, `parts` and `chief`.

    Raises:
        ValueError: an unknown engine, one of another backend, a start without its launcher, too few
            devices, or local statistics on JAX.

    Example:

    >>> start("horovod")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ValueError: distribute must be one of ddp, mirrored, multiworker, data_parallel; received ...
    """
    validation.one_of("distribute", engine, ENGINES)
    validation.one_of("statistics", statistics, STATISTICS)
    if engine not in _backend.ENGINES:
        raise ValueError(
            f"distribute={engine} needs the backend {ENGINES[engine]}; received "
            f"{keras.config.backend()}; set KERAS_BACKEND={ENGINES[engine]}."
        )
    if engine == "data_parallel" and statistics == "local":
        raise ValueError(
            "statistics must be synchronised for distribute=data_parallel, whose program sees "
            "whole batches; received local; choose ddp on torch or mirrored on TensorFlow."
        )
    joined = _backend.ENGINES[engine](devices)
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
    parts = workers().parts
    if size % parts:
        raise ValueError(
            f"batch_size must be a multiple of {parts}, the parts of a batch; received {size}; "
            f"choose {max(1, size // parts) * parts}."
        )
