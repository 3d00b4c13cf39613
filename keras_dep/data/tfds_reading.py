"""Reads sets prepared by TensorFlow Datasets, with TensorFlow out of the way of other backends."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import keras

from keras_dep._internal import quiet
from keras_dep._internal.types import Record
from keras_dep.data import tfds_files
from keras_dep.data.tfds_files import DataMissingError


def reader() -> Any:
    """The module `tensorflow_datasets`.

    Raises:
        DataMissingError: it, or TensorFlow, is not installed.
    """
    try:
        with quiet.without_import_log():
            import tensorflow as tf
            import tensorflow_datasets as tfds
    except ImportError as error:
        raise DataMissingError(
            "a prepared set is read with TensorFlow Datasets, received "
            f"{tfds_files.one_line(error)}; install tensorflow and tensorflow-datasets"
        ) from error
    # TensorFlow only reads here and must not reserve the GPU, unless it is also the backend.
    if keras.backend.backend() != "tensorflow":
        with contextlib.suppress(RuntimeError):  # its devices are in use already
            tf.config.set_visible_devices([], "GPU")
    return tfds


def examples(
    folder: str | os.PathLike[str], split: str, count: int | None = None
) -> Iterator[Record]:
    """Yields the first examples of a split, in file order, as dictionaries of NumPy arrays.

    Args:
        folder: a prepared folder, as `tfds_files.find` gives it.
        split: name of the split.
        count: number of examples, or `None` for all.

    Yields:
        The features of one example, by name.

    Raises:
        Exception: TensorFlow Datasets raises errors of many types for damaged files.
    """
    found = reader()
    builder = found.builder_from_directory(str(folder))
    # Reading one shard after the other keeps the file order.
    config = found.ReadConfig(try_autocache=False, interleave_cycle_length=1)
    wanted = split if count is None else f"{split}[:{count}]"
    yield from (
        builder.as_dataset(split=wanted, shuffle_files=False, read_config=config)
        .prefetch(2)
        .as_numpy_iterator()
    )
