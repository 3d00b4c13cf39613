"""Prepares the next batches while the present one is trained on: threads, or Grain's workers."""

import concurrent.futures
import sys
from typing import Any
from typing import Protocol

from keras_dep._internal.types import Array
from keras_dep.data import pixels
from keras_dep.data.epochs import EpochBatches

Batch = tuple[Array, Array]


class Reader(Protocol):
    """Gives any batch; the next ones in order are prepared already."""

    def get(self, epoch: int, index: int) -> Batch:
        """The batch `index` of `epoch`, as float32 images in [0, 1] and int32 labels."""

    def close(self) -> None:
        """Stops the workers; a later `get` starts them again."""


class InThreads:
    """Threads of this process, for images in memory.

    Args:
        batches: what to prepare.
        workers: number of threads; with 0, each batch is prepared on request.
    """

    def __init__(self, batches: EpochBatches, workers: int) -> None:
        self.batches = batches
        self._ahead = 2 * workers
        self._pool = concurrent.futures.ThreadPoolExecutor(max(1, workers))
        # Batches in preparation, by epoch and index.
        self._ready: dict[tuple[int, int], concurrent.futures.Future] = {}

    def get(self, epoch: int, index: int) -> Batch:
        ready, last = self._ready, min(index + self._ahead, len(self.batches) - 1)
        # The dict is replaced, not changed: two threads at once prepare a batch twice at worst.
        self._ready = {
            key: ready.get(key) or self._pool.submit(self._batch, *key)
            for key in [(epoch, coming) for coming in range(index + 1, last + 1)]
        }
        batch = ready.get((epoch, index))
        return batch.result() if batch else self._batch(epoch, index)

    def close(self) -> None:
        self._ready = {}

    def _batch(self, epoch: int, index: int) -> Batch:
        return scaled(self.batches.batch(epoch, index))


class WithGrain:
    """Threads or worker processes of Grain, for images that are decoded.

    The workers follow the batches in order, from epoch to epoch. A request for another batch than
    the next starts them there.

    Args:
        batches: what to prepare; pickled for worker processes.
        workers: number of threads or processes; with 0, each batch is prepared on request.
        processes: whether the workers are processes, for machines whose many cores would wait for
            Python's lock.
    """

    def __init__(self, batches: EpochBatches, workers: int, processes: bool = False) -> None:
        self.batches = batches
        self._workers, self._processes = workers, processes
        self._iterator: Any = None
        # The step that the iterator gives next, and the last batch with its step.
        self._next = -1
        self._last: tuple[int, Batch] | None = None

    def get(self, epoch: int, index: int) -> Batch:
        step = epoch * len(self.batches) + index
        # Keras asks for the first batch twice, to build a model.
        if self._last is not None and self._last[0] == step:
            return self._last[1]
        if not self._workers:
            return scaled(self.batches.batch(epoch, index))
        if self._iterator is None or step != self._next:
            self.close()
            self._iterator = iter(self._pipeline(step))
        try:
            batch = next(self._iterator)
        except BaseException:
            self.close()
            raise
        self._next, self._last = step + 1, (step, batch)
        return batch

    def close(self) -> None:
        iterator, self._iterator = self._iterator, None
        self._last = None
        if iterator is not None:
            iterator.close()

    def __del__(self) -> None:
        self.close()

    def _pipeline(self, first: int) -> Any:
        import grain
        from absl import flags

        # Grain reads a flag of its own before it starts a process.
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()
        count = 1 if self._processes else self._workers
        read = grain.ReadOptions(num_threads=count, prefetch_buffer_size=count + 1)
        steps = grain.MapDataset.source(Steps(self.batches, first)).to_iter_dataset(read)
        if self._processes:
            options = grain.MultiprocessingOptions(
                num_workers=self._workers, per_worker_buffer_size=1
            )
            steps = steps.mp_prefetch(options)
        # Bytes cross the border of a process, not floats.
        return grain.experimental.ThreadPrefetchIterDataset(
            steps.map(scaled), prefetch_buffer_size=1
        )


class Steps:
    """The batches of all epochs in one line, as the random-access source that Grain reads.

    Args:
        batches: the batches.
        first: the step that comes first; step `e * len(batches) + i` is batch `i` of epoch `e`.

    Example:

    >>> import numpy as np
    >>> from keras_dep.data.source import ArraySource
    >>> source = ArraySource(np.zeros((8, 4, 4, 1), "uint8"), np.arange(8))
    >>> batches = EpochBatches(source=source, batch_size=4, shuffle=False)
    >>> Steps(batches, first=3)[0][1].tolist()
    [4, 5, 6, 7]
    """

    def __init__(self, batches: EpochBatches, first: int) -> None:
        self.batches, self.first = batches, first

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, place: int) -> Batch:
        return self.batches.batch(*divmod(self.first + int(place), len(self.batches)))


def scaled(batch: Batch) -> Batch:
    """A batch with its images as float32 in [0, 1]; both are new arrays."""
    images, labels = batch
    # The arrays of a worker process lie in memory that it shares, and go with the batch.
    return pixels.scaled(images), labels.copy()
