"""Image sets by name: the embedded digits, and sets prepared by TensorFlow Datasets.

Digits and CIFAR are arrays in memory. The images of larger sets are files that are decoded when a
batch needs them.
"""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from keras_dep._internal import validation
from keras_dep._internal.types import Array
from keras_dep.data import records
from keras_dep.data import tfds_files
from keras_dep.data.events import sets as event_sets
from keras_dep.data.events.framing import Framing
from keras_dep.data.source import ArraySource
from keras_dep.data.source import Images
from keras_dep.data.source import Labels
from keras_dep.data.source import Source
from keras_dep.data.tfds_files import DataMissingError
from keras_dep.data.tfds_reading import reader

_CIFAR_SHAPE = (32, 32, 3)
# Classes, then mean and standard deviation per channel.
_PREPARED = {
    "cifar10": (10, (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "cifar100": (100, (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
}
# Shape of an image, how an image file is brought to it for testing, mean and standard deviation.
_IMAGE_FILES = {
    "tiny_imagenet": (
        (64, 64, 3),
        records.same_size,
        (0.4802, 0.4481, 0.3975),
        (0.2770, 0.2691, 0.2821),
    ),
    "imagenet2012": (
        (224, 224, 3),
        records.middle,
        (0.485, 0.456, 0.406),
        (0.229, 0.224, 0.225),
    ),
}


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Training and test images of one set.

    Args:
        name: the name given to `load`.
        x_train: uint8 images `(N, H, W, C)`, 0 to 255, to train on: an array, or `Images`, which
            index like one and decode what is asked for; frames `(N, T, H, W, 2)` of an event set.
        y_train: their labels, int32 `(N,)`, 0 to `num_classes - 1`: an array, or `Labels`.
        x_test: the test images, as `x_train`.
        y_test: their labels, as `y_train`.
        num_classes: number of classes.
        mean: one float per channel, of images in [0, 1].
        std: standard deviation, as `mean`.
        label_names: one string per class.
    """

    name: str
    x_train: Array | Images
    y_train: Array | Labels
    x_test: Array | Images
    y_test: Array | Labels
    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    label_names: tuple[str, ...]

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Shape `(H, W, C)` of one image, or `(T, H, W, 2)` of the frames of a recording."""
        return self.x_train.shape[1:]

    @functools.cached_property
    def train(self) -> Source:
        """The training images and labels as a random-access source."""
        return self._source("train", self.x_train, self.y_train)

    @functools.cached_property
    def test(self) -> Source:
        """The test images and labels, as `train`."""
        return self._source("test", self.x_test, self.y_test)

    @property
    def in_memory(self) -> bool:
        """Whether the images are arrays."""
        return not isinstance(self.x_train, Images)

    def _source(self, split: str, x: Any, y: Any) -> Source:
        if isinstance(x, Images):
            return x.source
        facts = self.num_classes, self.mean, self.std, self.label_names
        return ArraySource(x, y, f"{self.name}/{split}", *facts)


def names() -> list[str]:
    """The names that `load` knows, sorted."""
    return sorted(["digits", *tfds_files.NAMES])


def load(
    name: str,
    data_dir: str | os.PathLike[str] | None = None,
    download: bool = False,
    train_examples: int | None = None,
    test_examples: int | None = None,
    framing: Framing | None = None,
) -> Dataset:
    """Loads an image set.

    | name | images | read |
    |---|---|---|
    | `digits` | 8x8 grey, of scikit-learn (UCI's test set): 1500 and 297 | from the package |
    | `cifar10`, `cifar100` | 32x32: 50,000 and 10,000 | into memory |
    | `tiny_imagenet` | 64x64: 100,000 and 10,000 (its validation set) | when indexed |
    | `imagenet2012` | 224x224: 1,281,167 and 50,000 (its validation set) | when indexed |
    | `dvs_cifar10` | frames of recordings: 9000 and 1000 | when indexed |
    | `dvs128_gesture` | frames of recordings: 1176 and 288 | when indexed |

    All but the digits are read from a folder prepared by TensorFlow Datasets; `apps/data.py`
    prepares them. TensorFlow itself is imported for CIFAR alone, if that folder is complete.

    Args:
        name: one of `names()`.
        data_dir: folder that contains `<name>/<version>/`; by default the environment variable
            `TFDS_DATA_DIR`, else `~/tensorflow_datasets`.
        download: whether to download a set that is not on disk.
        train_examples: number of training images to keep, the first ones in file order; `None`
            keeps all.
        test_examples: likewise for the test images.
        framing: how recordings become frames; default: `keras_dep.data.events.Framing()`. Image
            sets ignore it.

    Returns:
        A `Dataset`.

    Raises:
        DataMissingError: the folder is missing, incomplete or unreadable; a `ValueError`.
        ValueError: unknown name, more examples than the set has, or frames larger than the sensor.

    Example:

    >>> load("digits", train_examples=100).x_train.shape
    (100, 8, 8, 1)
    """
    validation.one_of("name", name, names())
    wanted = {"train": train_examples, "test": test_examples}
    if name == "digits":
        return _load_digits(wanted)
    if name in _IMAGE_FILES:
        return _open_files(name, tfds_files.root(data_dir), wanted)
    if name in tfds_files.EVENT_SETS:
        return _load_events(name, tfds_files.root(data_dir), wanted, framing or Framing())
    return _load_prepared(name, tfds_files.root(data_dir), download, wanted)


def _load_digits(wanted: dict[str, int | None]) -> Dataset:
    from sklearn import datasets

    pixels, labels = datasets.load_digits(return_X_y=True)
    images = np.rint(pixels * (255 / 16)).astype("uint8").reshape(-1, 8, 8, 1)
    labels, first = labels.astype("int32"), 1500
    counts = _counts("digits", wanted, {"train": first, "test": len(images) - first})
    train, test = slice(counts["train"]), slice(first, first + counts["test"])
    pairs = images[train], labels[train], images[test], labels[test]
    return Dataset("digits", *pairs, 10, (0.3052,), (0.3749,), tuple("0123456789"))


def _open_files(name: str, root: pathlib.Path, wanted: dict[str, int | None]) -> Dataset:
    folder, available = tfds_files.find(name, root)
    counts = _counts(name, wanted, available)
    image_shape, fit, mean, std = _IMAGE_FILES[name]
    splits = {"train": "train", "test": tfds_files.RELEASES[name].test_split}
    return _opened(
        name,
        root,
        folder,
        lambda key: records.ImageFiles(
            folder, splits[key], image_shape, fit, counts[key], f"{name}/{key}", mean, std
        ),
    )


def _load_events(
    name: str, root: pathlib.Path, wanted: dict[str, int | None], framing: Framing
) -> Dataset:
    folder, available = tfds_files.find(name, root)
    counts = _counts(name, wanted, available)
    event_sets.check(framing)
    return _opened(
        name,
        root,
        folder,
        lambda key: event_sets.Recordings(folder, key, framing, counts[key], f"{name}/{key}"),
    )


def _opened(
    name: str, root: pathlib.Path, folder: pathlib.Path, split: Callable[[str], Source]
) -> Dataset:
    try:
        train, test = split("train"), split("test")
    except DataMissingError:
        raise
    except Exception as error:
        raise DataMissingError(tfds_files.damaged(name, root, folder, error)) from error
    images = train.images, train.labels, test.images, test.labels
    facts = train.num_classes, train.mean, train.std, train.label_names
    return Dataset(name, *images, *facts)


def _load_prepared(
    name: str, root: pathlib.Path, download: bool, wanted: dict[str, int | None]
) -> Dataset:
    try:
        folder, available = tfds_files.find(name, root)
    except DataMissingError:
        if not download:
            raise
        _download(name, root)
        folder, available = tfds_files.find(name, root)
    counts = _counts(name, wanted, available)
    (num_classes, mean, std), tfds = _PREPARED[name], reader()
    try:
        builder = tfds.builder_from_directory(str(folder))
        # Reading one shard after the other keeps the file order.
        config = tfds.ReadConfig(try_autocache=False, interleave_cycle_length=1)
        train = _read(builder, config, "train", counts["train"], num_classes)
        test = _read(builder, config, "test", counts["test"], num_classes)
        label_names = tuple(builder.info.features["label"].names)
    except Exception as error:
        raise DataMissingError(tfds_files.damaged(name, root, folder, error)) from error
    return Dataset(name, *train, *test, num_classes, mean, std, label_names)


def _read(
    builder: Any, config: Any, split: str, count: int, num_classes: int
) -> tuple[Array, Array]:
    examples = builder.as_dataset(
        split=f"{split}[:{count}]", shuffle_files=False, as_supervised=True, read_config=config
    )
    images, labels = np.empty((count, *_CIFAR_SHAPE), "uint8"), np.empty(count, "int32")
    last, done = num_classes - 1, 0
    for x, y in examples.batch(1000).prefetch(2).as_numpy_iterator():
        if x.dtype != np.uint8 or x.shape[1:] != _CIFAR_SHAPE:
            raise ValueError(f"expected uint8 {_CIFAR_SHAPE}, found {x.dtype} {x.shape[1:]}")
        if y.min() < 0 or y.max() > last:
            raise ValueError(f"expected labels 0 to {last}, found {y.min()} to {y.max()}")
        part = slice(done, done + len(x))
        images[part], labels[part], done = x, y, part.stop
    if done != count:
        raise ValueError(f"expected {count} {split} images, found {done}")
    return images, labels


def _download(name: str, root: pathlib.Path) -> None:
    tfds = reader()
    try:
        tfds.builder(name, data_dir=str(root)).download_and_prepare()
    except Exception as error:
        what = f"none, and could not download it ({tfds_files.one_line(error)})"
        raise DataMissingError(tfds_files.missing(name, root, what)) from error


def _counts(name: str, wanted: dict[str, int | None], available: dict[str, int]) -> dict[str, int]:
    counts = dict(available)
    for split, count in wanted.items():
        if count is None:
            continue
        whole = isinstance(count, (int, np.integer)) and not isinstance(count, bool)
        if not whole or not 1 <= count <= available[split]:
            raise ValueError(
                f"{split}_examples must be a whole number from 1 to {available[split]}, the images "
                f"of {name}; received {split}_examples={count!r}; leave it out for all of them."
            )
        counts[split] = int(count)
    return counts
