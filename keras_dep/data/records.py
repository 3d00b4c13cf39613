"""Records of a set prepared by TensorFlow Datasets, read one by one in any order."""

import functools
import hashlib
import json
import operator
import pathlib
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_dep._internal.types import Array
from keras_dep.data import preprocessing
from keras_dep.data import tfds_files
from keras_dep.data.source import Source
from keras_dep.data.tfds_files import DataMissingError

# Shorter side of a photograph before its middle is cut out, over the size of the cut.
_SHORTER_SIDE = 256 / 224


class RecordSource(Source):
    """A split of a prepared set in the format ArrayRecord; each record is read when asked for.

    A subclass turns a record into an image. Opening the split reads none.

    Args:
        folder: the prepared folder, `<data_dir>/<name>/<version>`.
        split: name of the split in it.
        image_shape: as in `Source`.
        count: the first `count` records; default: all.
        name: as in `Source`.
        mean: as in `Source`.
        std: as in `Source`.
        decoders: for features that the subclass decodes itself, those of TensorFlow Datasets.

    Raises:
        DataMissingError: the folder cannot be read, or TensorFlow Datasets is not installed.
        ValueError: in use, a record with a label that the set has not.
    """

    # The feature that names a record.
    NAMED = "name"

    def __init__(
        self,
        folder: pathlib.Path,
        split: str,
        image_shape: Sequence[int],
        count: int | None = None,
        name: str = "",
        mean: Sequence[float] = (),
        std: Sequence[float] = (),
        decoders: Any = None,
    ) -> None:
        builder = library().builder_from_directory(str(folder))
        labels = builder.info.features["label"]
        super().__init__(
            name or f"{builder.info.name}/{split}",
            image_shape,
            labels.num_classes,
            mean,
            std,
            labels.names,
        )
        self.folder = folder
        self._records = builder.as_data_source(split, decoders=decoders)
        self._count = len(self._records) if count is None else count
        self._split = split
        # Labels of the records read so far: a batch reads each record once.
        self._labels = np.full(self._count, -1, "int32")

    def __len__(self) -> int:
        return self._count

    def label(self, index: int) -> int:
        if self._labels[index] < 0:
            self.record(index)
        return int(self._labels[index])

    @functools.cached_property
    def fingerprint(self) -> str:
        """Hash of the description of the prepared set and of the sizes of its shards."""
        info = json.loads((self.folder / "dataset_info.json").read_text())
        (split,) = (each for each in info["splits"] if each["name"] == self._split)
        facts = info["name"], info["version"], split, self.label_names, self._count
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def record(self, index: int) -> Any:
        """The features of the record `index`, by name."""
        record = self._records[range(self._count)[index]]
        label = operator.index(record["label"])
        if not 0 <= label < self.num_classes:
            raise ValueError(
                f"{self.where(index, record)} has the label {label}; expected 0 to "
                f"{self.num_classes - 1}; prepare the set again."
            )
        self._labels[index] = label
        return record

    def where(self, index: int, record: Any) -> str:
        """The words for a record in messages."""
        return f"{self.name} record {index} ({record[self.NAMED].decode()})"


class ImageFiles(RecordSource):
    """A split of encoded images.

    Each image is decoded by Pillow when asked for, as the paper's data loader does.

    Args:
        folder: as in `RecordSource`.
        split: as in `RecordSource`.
        image_shape: `(H, W, 3)` of an image as the network takes it.
        fit: function `(image, (H, W)) -> image` from an image at its own size to that size.
        count: as in `RecordSource`.
        name: as in `Source`.
        mean: as in `Source`.
        std: as in `Source`.

    Raises:
        DataMissingError: as in `RecordSource`.
        ValueError: in use, a record that cannot be decoded, or has another size or label.
    """

    NAMED = "file_name"

    def __init__(
        self,
        folder: pathlib.Path,
        split: str,
        image_shape: Sequence[int],
        fit: Callable[[Array, tuple[int, ...]], Array],
        count: int | None = None,
        name: str = "",
        mean: Sequence[float] = (),
        std: Sequence[float] = (),
    ) -> None:
        decoders = {"image": library().decode.SkipDecoding()}
        super().__init__(folder, split, image_shape, count, name, mean, std, decoders)
        self._fit = fit

    def encoded(self, index: int) -> bytes:
        """The image file `index`."""
        return self.record(index)["image"]

    def file_name(self, index: int) -> str:
        """Name of the image file `index` in the archive it came from."""
        return self.record(index)["file_name"].decode()

    def original(self, index: int) -> Array:
        record = self.record(index)
        return preprocessing.decode(record["image"], self.where(index, record))

    def image(self, index: int) -> Array:
        image = self._fit(self.original(index), self.image_shape[:2])
        if image.shape != self.image_shape:
            raise ValueError(
                f"{self.where(index, self.record(index))} is of shape {image.shape}; expected "
                f"{self.image_shape}; prepare the set again."
            )
        return image


def same_size(image: Array, size: tuple[int, ...]) -> Array:
    """Returns an image that has its size already."""
    del size
    return image


def middle(image: Array, size: tuple[int, ...]) -> Array:
    """Resizes a photograph to 8/7 of `size` by its shorter side, and cuts out the middle.

    For 224 pixels, the shorter side is 256: the paper's preprocessing of test images of ImageNet.

    Example:

    >>> middle(np.zeros((300, 500, 3), "uint8"), (224, 224)).shape
    (224, 224, 3)
    """
    resized = preprocessing.resize_shorter_side(image, round(min(size) * _SHORTER_SIDE))
    return preprocessing.centre_crop(resized, size)


def library() -> Any:
    """The module `tensorflow_datasets`, which reads records without TensorFlow.

    Raises:
        DataMissingError: it, or what reads ArrayRecord files, is not installed.
    """
    try:
        import array_record.python.array_record_module  # noqa: F401
        import grain  # noqa: F401
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise DataMissingError(
            "a set of image files is read with TensorFlow Datasets, ArrayRecord and Grain, "
            f"received {tfds_files.one_line(error)}; install keras_dep[tfds]"
        ) from error
    return tfds
