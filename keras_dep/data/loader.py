"""Batches of images for `fit`.

Batches are prepared ahead by workers of our own. The workers of `keras.utils.PyDataset` lose and
repeat batches in the first epoch of an unbuilt model (torch, JAX) and hand batches of an
interrupted epoch to the next `fit`; a Grain data set in `fit` has the same order in every epoch, or
with `repeat()` ignores `initial_epoch`.
"""

from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from keras_dep._internal import validation
from keras_dep._internal.types import Array
from keras_dep._internal.types import Record
from keras_dep.data import reading_ahead
from keras_dep.data import transforms
from keras_dep.data.epochs import EpochBatches
from keras_dep.data.source import ArraySource
from keras_dep.data.source import Images
from keras_dep.data.source import Labels
from keras_dep.data.source import Source
from keras_dep.data.transforms import Augmentation


class Batches(keras.utils.PyDataset):
    """Shuffled, augmented batches that depend on `(seed, epoch, index)` alone.

    Call `fit(batches, shuffle=False)`; otherwise Keras shuffles the order of the batches. An epoch
    then has the same batches on every backend, and also in a resumed run if `epoch` equals the
    `initial_epoch` of `fit`. Every pass of `fit` advances `epoch` by one. Add the callback
    `FollowEpoch` if the first epoch is not known beforehand, or if one object is used for several
    models or also for `evaluate`. Leave out `steps_per_epoch`: an epoch is one full pass.

    Each batch is `(images, labels)`: float32 `(B, H, W, C)` in [0, 1], and int32 `(B,)`.

    Args:
        x: images `(N, H, W, C)`, or frames of recordings `(N, T, H, W, C)`; uint8, or float in
            [0, 1]; or the `images` of a `keras_dep.data.Source`, which are decoded batch by batch.
        y: labels `(N,)` or `(N, 1)`, whole numbers from 0 on, or one-hot rows `(N, classes)`; or
            the `labels` of that source.
        batch_size: images per batch.
        seed: non-negative int.
        shuffle: whether each epoch has its own order.
        augment: a name in `transforms.names()`, a function `(images, rng) -> images`, or `None`.
        drop_remainder: whether an incomplete last batch is left out.
        workers: number of threads that prepare the next batches; with 0, each batch is prepared
            on request. It does not change a batch.
        epoch: number of the first epoch.
        processes: whether the images of a source are decoded in processes, in place of threads.
            Each takes some seconds to start; they pay on machines with many cores.

    Raises:
        ValueError: images, labels or numbers are not as described, or Keras shuffles the batches.

    Example:

    >>> from keras_dep.data.sources import load
    >>> data = load("digits")
    >>> batches = Batches(data.x_train, data.y_train, batch_size=100, augment="standard")
    >>> batches[0][0].shape, len(batches)
    ((100, 8, 8, 1), 15)
    """

    def __init__(
        self,
        x: npt.ArrayLike | Images,
        y: npt.ArrayLike | Labels,
        batch_size: int,
        seed: int = 0,
        shuffle: bool = True,
        augment: str | Augmentation | None = None,
        drop_remainder: bool = True,
        workers: int = 1,
        epoch: int = 0,
        processes: bool = False,
    ) -> None:
        # These values switch the queue of Keras off.
        super().__init__(workers=1, use_multiprocessing=False)
        source = _source(x, y)
        self.x, self.y = source.images, source.labels
        self.batch_size = _integer("batch_size", batch_size, 1, len(source))
        self.seed = _integer("seed", seed, 0)
        self.shuffle = shuffle
        self.augment: Augmentation = (
            augment if callable(augment) else transforms.get(augment or "none")
        )
        self.drop_remainder = drop_remainder
        self.epoch = epoch
        workers = _integer("workers", workers, 0)
        self._batches = EpochBatches(
            source=source,
            batch_size=self.batch_size,
            seed=self.seed,
            shuffle=shuffle,
            augment=self.augment,
            drop_remainder=drop_remainder,
        )
        self._reader: reading_ahead.Reader = (
            reading_ahead.InThreads(self._batches, workers)
            if isinstance(source, ArraySource)
            else reading_ahead.WithGrain(self._batches, workers, processes)
        )

    @property
    def epoch(self) -> int:
        """Number of the current epoch; set it before each `fit` that starts at another one."""
        return self._epoch

    @epoch.setter
    def epoch(self, value: int) -> None:
        self._epoch = _integer("epoch", value, 0)
        self._armed = self._open = self._first_due = False

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> tuple[Array, Array]:
        if not 0 <= index < len(self):
            raise IndexError(f"batch index must be 0 to {len(self) - 1}; received {index}")
        first_due, self._first_due = self._first_due, False
        if first_due and index:
            raise ValueError(
                f"an epoch must begin with batch 0; received index={index}: Keras shuffles the "
                "batches; write fit(..., shuffle=False)"
            )
        return self._reader.get(self.epoch, index)

    def close(self) -> None:
        """Stops the workers and drops what they prepared; a later batch starts them again."""
        self._reader.close()

    def on_epoch_begin(self) -> None:
        self._open = self._first_due = True

    def on_epoch_end(self) -> None:
        # `fit` resets its iterator before the first epoch, which calls this without a beginning.
        if self._armed and self._open:
            self._epoch += 1
        self._armed, self._open, self._first_due = True, False, False


class FollowEpoch(keras.callbacks.Callback):
    """Sets `batches.epoch` to the number of each epoch as `fit` counts it.

    Args:
        batches: the `Batches` that `fit` trains on, or any object with an attribute `epoch`.

    Example:

    >>> batches = Batches(np.zeros((8, 4, 4, 1), "uint8"), np.zeros(8, "int32"), batch_size=4)
    >>> FollowEpoch(batches).on_epoch_begin(3)
    >>> batches.epoch
    3
    """

    def __init__(self, batches: Any) -> None:
        super().__init__()
        self.batches = batches

    def on_epoch_begin(self, epoch: int, logs: Record | None = None) -> None:
        self.batches.epoch = epoch


def _integer(name: str, value: Any, low: int, high: int | None = None) -> int:
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or value < low or (high is not None and value > high):
        span = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise ValueError(f"{name} must be a whole number {span}; received {name}={value!r}.")
    return int(value)


def _source(x: npt.ArrayLike | Images, y: npt.ArrayLike | Labels) -> Source:
    if not isinstance(x, Images):
        return ArraySource(*_checked(np.asarray(x), np.asarray(y)))
    if not isinstance(y, Labels) or y.source is not x.source:
        raise ValueError(
            f"y must be the labels of the source of x, {x.source.name}; received a "
            f"{type(y).__name__}; pass source.images and source.labels."
        )
    return x.source


def _checked(x: Array, y: Array) -> tuple[Array, Array]:
    if x.ndim not in (4, 5) or not x.size or y.shape[:1] != x.shape[:1]:
        raise ValueError(
            "x must be images (N, H, W, C), each of these at least 1, and y labels (N,); received "
            f"x.shape={x.shape}, y.shape={y.shape}; give one label per image"
        )
    floats = x.dtype.kind == "f"
    if x.dtype != np.uint8 and not (floats and x.min() >= 0 and x.max() <= 1):
        values = f", {x.min()} to {x.max()}" if x.dtype.kind in "iuf" else ""
        raise ValueError(
            f"x must be uint8, or float in [0, 1]; received x of {x.dtype}{values}; divide pixels "
            "0 to 255 by 255"
        )
    return x, validation.class_labels(y)
