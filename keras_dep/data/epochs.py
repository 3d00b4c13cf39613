"""Batches as a pure function of seed, epoch and index, so that any process can make any of them."""

import dataclasses

import numpy as np

from keras_dep._internal.types import Array
from keras_dep.data import transforms
from keras_dep.data.source import Source
from keras_dep.data.transforms import Augmentation


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class EpochBatches:
    """The batches of every epoch over a source.

    Nothing is kept between calls that changes a batch: workers, machines and resumed runs may ask
    for any batch in any order.

    Args:
        source: the images and labels.
        batch_size: images per batch, at most those of the source.
        seed: non-negative int.
        shuffle: whether each epoch has its own order.
        augment: function `(images, rng) -> images`.
        drop_remainder: whether an incomplete last batch is left out.

    Example:

    >>> from keras_dep.data.source import ArraySource
    >>> source = ArraySource(np.zeros((10, 8, 8, 1), "uint8"), np.arange(10))
    >>> images, labels = EpochBatches(source=source, batch_size=4).batch(epoch=3, index=1)
    >>> images.shape, labels.shape
    ((4, 8, 8, 1), (4,))
    """

    source: Source
    batch_size: int
    seed: int = 0
    shuffle: bool = True
    augment: Augmentation = transforms.none
    drop_remainder: bool = True
    # Orders of the last epochs asked for.
    _orders: dict[int, Array] = dataclasses.field(default_factory=dict, init=False, repr=False)

    def __len__(self) -> int:
        full, rest = divmod(len(self.source), self.batch_size)
        return full + bool(rest and not self.drop_remainder)

    def batch(self, epoch: int, index: int) -> tuple[Array, Array]:
        """The batch `index` of `epoch`: images as in the source, and int32 labels."""
        chosen = self.indices(epoch, index)
        # NumPy ignores trailing zeros of a seed: index + 1 differs from the seed of the order.
        rng = np.random.default_rng([self.seed, epoch, index + 1])
        images = transforms.augmented(self.source, chosen, self.augment, rng)
        return images, self.source.labels_at(chosen)

    def indices(self, epoch: int, index: int) -> Array:
        """Which images of the source the batch `index` of `epoch` holds."""
        return self._order(epoch)[index * self.batch_size : (index + 1) * self.batch_size]

    def _order(self, epoch: int) -> Array:
        epoch = epoch if self.shuffle else 0
        order = self._orders.get(epoch)
        if order is None:
            count = len(self.source)
            shuffled = np.random.default_rng([self.seed, epoch])
            order = shuffled.permutation(count) if self.shuffle else np.arange(count)
            # Reading ahead crosses from one epoch to the next.
            for old in [other for other in list(self._orders) if abs(other - epoch) > 1]:
                self._orders.pop(old, None)
            self._orders[epoch] = order
        return order
