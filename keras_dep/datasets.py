"""Image sets in memory, and the batches that `fit` draws from them."""

import concurrent.futures
import contextlib
import dataclasses
import json
import os
import pathlib
import re

import keras
import numpy as np

from keras_dep import augmentation

_VERSION = re.compile(r"\d+\.\d+\.\d+")
_CIFAR_SHAPE = (32, 32, 3)
# Classes, then mean and standard deviation per channel.
_PREPARED = {
    "cifar10": (10, (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "cifar100": (100, (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
}


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Training and test images of one set.

    Args:
        name: the name given to `load`.
        x_train, x_test: uint8 images `(N, H, W, C)`, 0 to 255.
        y_train, y_test: int32 labels `(N,)`, 0 to `num_classes - 1`.
        num_classes: number of classes.
        mean, std: one float per channel, for images in [0, 1].
        label_names: one string per class.
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    num_classes: int
    mean: tuple
    std: tuple
    label_names: tuple

    @property
    def image_shape(self):
        """`(H, W, C)` of one image."""
        return self.x_train.shape[1:]


class DataMissingError(ValueError):
    """The set is not on disk, only half there, or cannot be read; the message is one line."""


def names():
    """Returns the names that `load` knows, sorted."""
    return sorted(["digits", *_PREPARED])


def load(name, data_dir=None, download=False, train_examples=None, test_examples=None):
    """Loads an image set into memory.

    `"digits"` (8x8 grey, scikit-learn's copy of the UCI test set; the first 1500 train, the last
    297 test) needs no files. `"cifar10"` and `"cifar100"` are read from a folder prepared by
    TensorFlow Datasets; TensorFlow is imported only once that folder is found complete.

    Args:
        name: `"digits"`, `"cifar10"` or `"cifar100"`.
        data_dir: folder that holds `<name>/<version>/`; by default the environment variable
            `TFDS_DATA_DIR`, else `~/tensorflow_datasets`.
        download: whether a set that is not on disk may be fetched.
        train_examples: keep only the first so many training images, in file order.
        test_examples: likewise for the test images.

    Returns:
        A `Dataset`.

    Raises:
        DataMissingError: the folder is missing, half prepared or unreadable.
        ValueError: unknown name, or a number of examples that the set cannot give.

    Example:

    >>> load("digits", train_examples=100).x_train.shape
    (100, 8, 8, 1)
    """
    if name not in names():
        known = ", ".join(names())
        raise ValueError(f"name must be one of {known}; received name={name!r}; use one of those")
    wanted = {"train": train_examples, "test": test_examples}
    if name == "digits":
        return _load_digits(wanted)
    root = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return _load_prepared(name, pathlib.Path(root).expanduser(), download, wanted)


class Batches(keras.utils.PyDataset):
    """Shuffled, augmented batches that depend on nothing but `(seed, epoch, index)`.

    Call `fit(batches, shuffle=False)`: Keras would put the batches into an order of its own. The
    same epoch then holds the same batches on every backend, in a resumed run as well: give `epoch`
    the number that `fit` gets as `initial_epoch`. Every pass of `fit` advances `epoch` by one.
    Where the first epoch is not known beforehand, or where one object serves several models or
    also `evaluate`, add `FollowEpoch`. Leave out `steps_per_epoch`: an epoch is one full pass.

    Args:
        x: images `(N, H, W, C)`, uint8, or float in [0, 1].
        y: integer labels `(N,)`.
        batch_size: images per batch.
        seed: non-negative int.
        shuffle: whether each epoch has its own order.
        augment: a name known to `augmentation.get`, a function `(images, rng) -> images`, or None.
        drop_remainder: whether an incomplete last batch is left out.
        workers: threads that prepare coming batches; 0 prepares them when asked.
        epoch: number of the first epoch.

    Each batch is `(float32 images in [0, 1], int32 labels)`.

    Raises:
        ValueError: images, labels or numbers are not as said, or Keras shuffles the batches.

    Example:

    >>> data = load("digits")
    >>> batches = Batches(data.x_train, data.y_train, batch_size=100, augment="standard")
    >>> batches[0][0].shape, len(batches)
    ((100, 8, 8, 1), 15)
    """

    def __init__(self, x, y, batch_size, seed=0, shuffle=True, augment=None,
                 drop_remainder=True, workers=1, epoch=0):  # fmt: skip
        # Keras' own queue replays stale batches after it built a model: it stays off.
        super().__init__(workers=1, use_multiprocessing=False)
        self.x, self.y = _checked(np.asarray(x), np.asarray(y))
        self.batch_size = _integer("batch_size", batch_size, 1, len(self.x))
        self.seed = _integer("seed", seed, 0)
        self.shuffle = shuffle
        self.augment = augment if callable(augment) else augmentation.get(augment or "none")
        self.drop_remainder = drop_remainder
        self.epoch = epoch
        self._order = (None, np.arange(len(self.x)))
        self._ahead = 2 * _integer("workers", workers, 0)
        self._pool = concurrent.futures.ThreadPoolExecutor(max(1, workers))
        self._ready = {}

    @property
    def epoch(self):
        """Number of the epoch that batches now belong to; set it before a `fit` of its own."""
        return self._epoch

    @epoch.setter
    def epoch(self, value):
        self._epoch = _integer("epoch", value, 0)
        self._armed = self._open = self._first_due = False

    def __len__(self):
        full, rest = divmod(len(self.x), self.batch_size)
        return full + bool(rest and not self.drop_remainder)

    def __getitem__(self, index):
        if not 0 <= index < len(self):
            raise IndexError(f"batch index must be 0 to {len(self) - 1}; received {index}")
        first_due, self._first_due = self._first_due, False
        if first_due and index:
            raise ValueError(
                f"an epoch must begin with batch 0; received index={index}: Keras shuffles the "
                "batches; write fit(..., shuffle=False)"
            )
        epoch, ready = self.epoch, self._ready
        last = min(index + self._ahead, len(self) - 1)
        # Swapped whole: two threads that ask at once can at worst prepare a batch twice.
        self._ready = {
            key: ready.get(key) or self._pool.submit(self._batch, *key)
            for key in [(epoch, coming) for coming in range(index + 1, last + 1)]
        }
        batch = ready.get((epoch, index))
        return batch.result() if batch else self._batch(epoch, index)

    def on_epoch_begin(self):
        self._open = self._first_due = True

    def on_epoch_end(self):
        # `fit` resets its iterator before it starts, and so ends an epoch that never began.
        if self._armed and self._open:
            self._epoch += 1
        self._armed, self._open, self._first_due = True, False, False

    def _batch(self, epoch, index):
        chosen = self._epoch_order(epoch)[index * self.batch_size : (index + 1) * self.batch_size]
        # A trailing zero leaves a seed sequence as it is: index + 1 keeps clear of the order's.
        rng = np.random.default_rng([self.seed, epoch, index + 1])
        images = self.augment(self.x[chosen], rng)
        scale = 255 if images.dtype == np.uint8 else 1
        return np.divide(images, scale, dtype="float32", casting="same_kind"), self.y[chosen]

    def _epoch_order(self, epoch):
        known, order = self._order
        if self.shuffle and known != epoch:
            order = np.random.default_rng([self.seed, epoch]).permutation(len(self.x))
            self._order = epoch, order
        return order


class FollowEpoch(keras.callbacks.Callback):
    """Tells `batches` the number of each epoch as `fit` counts it.

    Args:
        batches: the `Batches` that `fit` trains on, or any object with an attribute `epoch`.

    Example:

    >>> batches = Batches(np.zeros((8, 4, 4, 1), "uint8"), np.zeros(8, "int32"), batch_size=4)
    >>> FollowEpoch(batches).on_epoch_begin(3)
    >>> batches.epoch
    3
    """

    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def on_epoch_begin(self, epoch, logs=None):
        self.batches.epoch = epoch


def _load_digits(wanted):
    from sklearn import datasets

    pixels, labels = datasets.load_digits(return_X_y=True)
    images = np.rint(pixels * (255 / 16)).astype("uint8").reshape(-1, 8, 8, 1)
    labels, first = labels.astype("int32"), 1500
    counts = _counts("digits", wanted, {"train": first, "test": len(images) - first})
    train, test = slice(counts["train"]), slice(first, first + counts["test"])
    pairs = images[train], labels[train], images[test], labels[test]
    return Dataset("digits", *pairs, 10, (0.3052,), (0.3749,), tuple("0123456789"))


def _load_prepared(name, root, download, wanted):
    try:
        folder, available = _find(name, root)
    except DataMissingError:
        if not download:
            raise
        _download(name, root)
        folder, available = _find(name, root)
    counts = _counts(name, wanted, available)
    (num_classes, mean, std), reader = _PREPARED[name], _reader()
    try:
        builder = reader.builder_from_directory(str(folder))
        # One shard after the other: file order, whatever the number of shards.
        config = reader.ReadConfig(try_autocache=False, interleave_cycle_length=1)
        train = _read(builder, config, "train", counts["train"], num_classes)
        test = _read(builder, config, "test", counts["test"], num_classes)
        label_names = tuple(builder.info.features["label"].names)
    except Exception as error:
        raise _damaged(name, root, folder, error) from error
    return Dataset(name, *train, *test, num_classes, mean, std, label_names)


def _read(builder, config, split, count, num_classes):
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


def _reader():
    try:
        import tensorflow as tf
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise DataMissingError(
            f"a prepared set is read with TensorFlow Datasets, received {_one_line(error)}; "
            "install tensorflow and tensorflow-datasets"
        ) from error
    # TensorFlow only reads here; where it also trains, its devices are not ours to hide.
    if keras.backend.backend() != "tensorflow":
        with contextlib.suppress(RuntimeError):  # already initialised: someone else uses it
            tf.config.set_visible_devices([], "GPU")
    return tfds


def _download(name, root):
    reader = _reader()
    try:
        reader.builder(name, data_dir=str(root)).download_and_prepare()
    except Exception as error:
        what = f"none, and could not download it ({_one_line(error)})"
        raise _missing(name, root, what) from error


def _find(name, root):
    """Returns the newest prepared folder and its examples per split, from json and file sizes."""
    versions = [path for path in (root / name).glob("*") if _VERSION.fullmatch(path.name)]
    if not versions:
        raise _missing(name, root, "no such folder")
    folder = max(versions, key=lambda path: [int(part) for part in path.name.split(".")])
    try:
        _json(folder / "features.json")
        info = _json(folder / "dataset_info.json")
        splits = {split["name"]: split for split in info["splits"]}
        return folder, {key: _examples(folder, info, splits[key]) for key in ("train", "test")}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise _damaged(name, root, folder, error) from error


def _examples(folder, info, split):
    """Returns the number of examples of a split whose shards are all there, at full size."""
    lengths = [int(length) for length in split["shardLengths"]]
    kind = info.get("fileFormat") or "tfrecord"
    # A TFRecord frames each record with 16 bytes: length, and two checksums.
    frame = 16 if kind == "tfrecord" else 0
    template = split.get("filepathTemplate") or "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
    found = 0
    for index in range(len(lengths)):
        first, last = f"{index:05d}", f"{len(lengths):05d}"
        shard = folder / template.format(
            DATASET=info["name"], SPLIT=split["name"], FILEFORMAT=kind,
            SHARD_X_OF_Y=f"{first}-of-{last}", SHARD_INDEX=first, NUM_SHARDS=last,
        )  # fmt: skip
        found += shard.stat().st_size
    payload = int(split.get("numBytes") or 0)
    expected = payload + frame * sum(lengths)
    # Sets built from ready-made shards count the frames in numBytes.
    if frame and found < expected and found != payload:
        raise ValueError(f"{split['name']} shards hold {found} bytes instead of {expected}")
    return sum(lengths)


def _json(path):
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path.name}: {_one_line(error)}") from error


def _missing(name, root, what):
    return DataMissingError(
        f"{name} expected in {root / name / '<version>'}, found {what}; pass --download, or run "
        f"`tfds build {name} --data_dir={root}`, or point --data_dir at a prepared set"
    )


def _damaged(name, root, folder, error):
    what = f"{folder.name} incomplete or damaged ({_one_line(error)}), which must be removed first"
    return _missing(name, root, what)


def _one_line(error):
    lines = str(error).strip().splitlines() or [""]
    kind = "" if type(error) is ValueError else f"{type(error).__name__}: "
    return f"{kind}{lines[0][:200]}"


def _counts(name, wanted, available):
    counts = dict(available)
    for split, count in wanted.items():
        if count is not None:
            mend = f"{name} has no more {split} images"
            counts[split] = _integer(f"{split}_examples", count, 1, available[split], mend)
    return counts


def _integer(name, value, low, high=None, mend="give a number in that range"):
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or value < low or (high is not None and value > high):
        span = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise ValueError(f"{name} must be a whole number {span}; received {name}={value!r}; {mend}")
    return int(value)


def _checked(x, y):
    if x.ndim != 4 or y.shape != x.shape[:1] or not len(x):
        raise ValueError(
            "x must be images (N, H, W, C), N at least 1, and y labels (N,); received "
            f"x.shape={x.shape}, y.shape={y.shape}; give one label per image"
        )
    if x.dtype != np.uint8 and not (x.dtype.kind == "f" and x.min() >= 0 and x.max() <= 1):
        raise ValueError(
            f"x must be uint8, or float in [0, 1]; received x of {x.dtype}, {x.min()} to "
            f"{x.max()}; divide pixels 0 to 255 by 255"
        )
    if y.dtype.kind not in "iu" or y.min() < 0:
        got = f"{y.dtype} from {min(y)}"
        raise ValueError(f"y must be class numbers from 0; received y of {got}; convert them")
    return x, y.astype("int32")
