"""Shares of batches, work spread over workers, and logs of whole batches."""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import keras

from keras_dep import _backend
from keras_dep._internal.types import Record
from keras_dep.distribution.engines import check_batch
from keras_dep.distribution.engines import workers


def own_share(batch: Any) -> Any:
    """This worker's part of a batch.

    Args:
        batch: nested arrays `(n, ...)`, or `None` in their place, with `n` a multiple of the number
            of processes.

    Returns:
        The same with arrays `(n / count, ...)`: the parts of all workers make the batch, in order.

    Raises:
        ValueError: a batch that cannot be divided.

    Example:

    >>> own_share(([1, 2, 3], None))
    ([1, 2, 3], None)
    """
    joined = workers()
    if joined.count == 1:
        return batch

    def part(array: Any) -> Any:
        if array is None:
            return None
        check_batch(len(array))
        size = len(array) // joined.count
        return array[joined.rank * size : (joined.rank + 1) * size]

    return keras.tree.map_structure(part, batch)


def spread(
    function: Callable[[Any], Any], items: Sequence[Any], models: Sequence[keras.Model] = ()
) -> list[Any]:
    """Calls a function on each item, on the workers in turn; each worker gets all results.

    Every worker must call it with the same items. The function works by itself: what it calls is
    not spread again.

    Args:
        function: of an item; its result must be possible to pickle.
        items: the items.
        models: the models that it computes with.

    Returns:
        The results, in the order of the items.

    Example:

    >>> spread(abs, [-1, 2])
    [1, 2]
    """
    joined = workers()
    if joined.count == 1:
        return [function(item) for item in items]
    with _backend.alone(models):
        own = [function(item) for item in items[joined.rank :: joined.count]]
    parts = joined.gathered(own)
    return [parts[i % joined.count][i // joined.count] for i in range(len(items))]


class OwnShares(keras.utils.PyDataset):
    """This worker's part of each batch of a data set, for `fit(shuffle=False)`.

    Args:
        batches: a `keras.utils.PyDataset` that gives the same batches on every worker.

    Example:

    >>> from keras_dep.data import Batches
    >>> import numpy as np
    >>> whole = Batches(np.zeros((8, 4, 4, 1), "uint8"), np.zeros(8, "int32"), batch_size=4)
    >>> OwnShares(whole)[0][0].shape
    (4, 4, 4, 1)
    """

    def __init__(self, batches: keras.utils.PyDataset) -> None:
        # These values switch the queue of Keras off.
        super().__init__(workers=1, use_multiprocessing=False)
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Any:
        return own_share(self.batches[index])

    def on_epoch_begin(self) -> None:
        self.batches.on_epoch_begin()

    def on_epoch_end(self) -> None:
        self.batches.on_epoch_end()


class WholeLogs(keras.callbacks.Callback):
    """Replaces the logs of an epoch by their means over the workers; list it first in `fit`.

    Args:
        validation_images: number of validation images of this worker, which weigh its `val_` logs.

    Example:

    >>> logs = {"loss": 0.5}
    >>> WholeLogs(10).on_epoch_end(0, logs)
    >>> logs
    {'loss': 0.5}
    """

    def __init__(self, validation_images: int) -> None:
        super().__init__()
        self.validation_images = validation_images

    def on_epoch_end(self, epoch: int, logs: Record | None = None) -> None:
        joined = workers()
        if logs is None or joined.programs == 1:
            return
        found = joined.gathered((self.validation_images, dict(logs)))
        for name in logs:
            shares = [images if name.startswith("val_") else 1 for images, _ in found]
            terms = (share * each[name] for share, (_, each) in zip(shares, found) if share)
            logs[name] = sum(terms) / sum(shares)
