"""The event sets in the folder of TensorFlow Datasets, read as frames."""

import dataclasses
import functools
import hashlib
import json
import pathlib

from keras_dep._internal.types import Array
from keras_dep.data import records
from keras_dep.data.events import dvs128_gesture
from keras_dep.data.events import dvs_cifar10
from keras_dep.data.events.aedat import SIDE
from keras_dep.data.events.framing import Framing

CLASSES = {"dvs128_gesture": dvs128_gesture.CLASSES, "dvs_cifar10": dvs_cifar10.CLASSES}


class Recordings(records.RecordSource):
    """A split of recordings as frames, which are counted when asked for.

    Args:
        folder: the prepared folder, `<data_dir>/<name>/<version>`.
        split: `"train"` or `"test"`.
        framing: how a recording becomes uint8 frames `(T, side, side, 2)`.
        count: the first `count` recordings; default: all.
        name: as in `keras_dep.data.Source`.

    Raises:
        DataMissingError: the folder cannot be read, or TensorFlow Datasets is not installed.
        ValueError: frames larger than the sensor, that of a DVS128; in use, a damaged recording.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        split: str,
        framing: Framing,
        count: int | None = None,
        name: str = "",
    ) -> None:
        check(framing)
        shape = framing.timesteps, framing.side, framing.side, 2
        # Counts are scaled by `framing`; an empty pixel stays 0.
        super().__init__(folder, split, shape, count, name, mean=(0.0, 0.0), std=(1.0, 1.0))
        self.framing = framing

    def original(self, index: int) -> Array:
        record = self.record(index)
        try:
            return self.framing.of(record["events"], (SIDE, SIDE))
        except ValueError as error:
            raise ValueError(
                f"{self.where(index, record)} is damaged: {error} Prepare the set again."
            ) from error

    @functools.cached_property
    def fingerprint(self) -> str:
        """Hash of the prepared set, and of how its recordings become frames."""
        facts = super().fingerprint, dataclasses.asdict(self.framing)
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def check(framing: Framing) -> None:
    """Checks that frames are not larger than the sensor, that of a DVS128.

    Raises:
        ValueError: they are.
    """
    if framing.side > SIDE:
        raise ValueError(
            f"side must be at most {SIDE}, the side of the sensor; received {framing.side}."
        )
