"""The event sets in the folder of TensorFlow Datasets, read as frames."""

import pathlib

import numpy as np

from keras_dep._internal.types import Array
from keras_dep.data import records
from keras_dep.data.events import dvs128_gesture
from keras_dep.data.events import dvs_cifar10
from keras_dep.data.events.aedat import SIDE
from keras_dep.data.events.framing import Framing

CLASSES = {"dvs128_gesture": dvs128_gesture.CLASSES, "dvs_cifar10": dvs_cifar10.CLASSES}


def check(framing: Framing) -> None:
    """Checks that frames are not larger than the sensor, that of a DVS128.

    Raises:
        ValueError: they are.
    """
    if framing.side > SIDE:
        raise ValueError(
            f"side must be at most {SIDE}, the side of the sensor; received {framing.side}."
        )


def read(folder: pathlib.Path, split: str, count: int, framing: Framing) -> tuple[Array, Array]:
    """Reads the first recordings of a prepared split as frames.

    Args:
        folder: the prepared folder.
        split: `"train"` or `"test"`.
        count: number of recordings.
        framing: how they become frames.

    Returns:
        uint8 frames `(count, T, side, side, 2)` and int32 labels `(count,)`.
    """
    source = records.library().builder_from_directory(str(folder)).as_data_source(split)
    frames = np.empty((count, framing.timesteps, framing.side, framing.side, 2), "uint8")
    labels = np.empty(count, "int32")
    for index in range(count):
        recording = source[index]
        frames[index] = framing.of(recording["events"], (SIDE, SIDE))
        labels[index] = recording["label"]
    return frames, labels
