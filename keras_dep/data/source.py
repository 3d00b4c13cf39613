"""Image sets as random-access sources, in memory or on the disk."""

import abc
import concurrent.futures
import functools
import hashlib
import os
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_dep._internal.types import Array

# Fewer images are decoded one after the other.
_FEW = 8


class Source(abc.ABC):
    """One split of an image set: `len(source)`, and `source[i]` for an image and its label.

    A subclass implements `__len__`, `original` and `label`, and `image` where images of the split
    differ in size. `images` and `labels` are views that index like arrays and read only what is
    asked for, so a set that does not fit into memory takes the place of arrays.

    Args:
        name: name of the set and the split, such as `"tiny_imagenet/train"`.
        image_shape: `(H, W, C)` of an image as the network takes it.
        num_classes: number of classes.
        mean: one float per channel, of images in [0, 1].
        std: standard deviation, as `mean`.
        label_names: one string per class, or none.
    """

    def __init__(
        self,
        name: str,
        image_shape: Sequence[int],
        num_classes: int,
        mean: Sequence[float] = (),
        std: Sequence[float] = (),
        label_names: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.image_shape = tuple(image_shape)
        self.num_classes = num_classes
        self.mean = tuple(mean)
        self.std = tuple(std)
        self.label_names = tuple(label_names)

    @abc.abstractmethod
    def __len__(self) -> int:
        """Number of images."""

    @abc.abstractmethod
    def original(self, index: int) -> Array:
        """The image `index` at its own size, `(h, w, C)`."""

    @abc.abstractmethod
    def label(self, index: int) -> int:
        """The label of the image `index`."""

    @property
    @abc.abstractmethod
    def fingerprint(self) -> str:
        """Hash of what the source holds."""

    def image(self, index: int) -> Array:
        """The image `index` as it is tested, of `image_shape`."""
        return self.original(index)

    def __getitem__(self, index: int) -> tuple[Array, int]:
        index = range(len(self))[index]
        return self.image(index), self.label(index)

    def images_at(self, indices: Sequence[int] | Array) -> Array:
        """Images as they are tested, `(n, H, W, C)`."""
        return np.stack([self.image(int(index)) for index in indices])

    def labels_at(self, indices: Sequence[int] | Array) -> Array:
        """Labels, int32 `(n,)`."""
        return np.array([self.label(int(index)) for index in indices], "int32")

    @property
    def images(self) -> "Array | Images":
        """The images, an array `(N, H, W, C)` or what indexes like one."""
        return Images(self)

    @property
    def labels(self) -> "Array | Labels":
        """The labels, an array `(N,)` or what indexes like one."""
        return Labels(self)


class ArraySource(Source):
    """Images and labels in memory.

    Args:
        x: images `(N, H, W, C)`, uint8, or float in [0, 1].
        y: int32 labels `(N,)`.
        name: as in `Source`.
        num_classes: number of classes; default: the largest label and one.
        mean: as in `Source`.
        std: as in `Source`.
        label_names: as in `Source`.

    Example:

    >>> source = ArraySource(np.zeros((5, 8, 8, 1), "uint8"), np.arange(5))
    >>> image, label = source[3]
    >>> len(source), image.shape, label, source.num_classes
    (5, (8, 8, 1), 3, 5)
    """

    def __init__(
        self,
        x: Array,
        y: Array,
        name: str = "arrays",
        num_classes: int | None = None,
        mean: Sequence[float] = (),
        std: Sequence[float] = (),
        label_names: Sequence[str] = (),
    ) -> None:
        classes = int(y.max()) + 1 if num_classes is None else num_classes
        super().__init__(name, x.shape[1:], classes, mean, std, label_names)
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def original(self, index: int) -> Array:
        return self.x[index]

    def label(self, index: int) -> int:
        return int(self.y[index])

    def images_at(self, indices: Sequence[int] | Array) -> Array:
        return self.x[indices]

    def labels_at(self, indices: Sequence[int] | Array) -> Array:
        return self.y[indices]

    @property
    def images(self) -> Array:
        """The array of images."""
        return self.x

    @property
    def labels(self) -> Array:
        """The array of labels."""
        return self.y

    @functools.cached_property
    def fingerprint(self) -> str:
        """Hash of the pixels and labels."""
        digest = hashlib.sha256()
        for array in (self.x, self.y):
            digest.update(f"{array.dtype} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).view("uint8").data)
        return digest.hexdigest()


class _View:
    """Indexes one part of the examples of a source like an array."""

    source: Source

    def __init__(self, source: Source) -> None:
        self.source = source

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, key: int | slice | Sequence[int] | Array) -> Any:
        if isinstance(key, slice):
            return self._read(range(*key.indices(len(self))))
        indices = np.arange(len(self))[key]
        return self._read(indices) if indices.ndim else self._read([int(indices)])[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """All of them; NumPy calls this where it needs an array."""
        if copy is False:
            raise ValueError(f"{self.source.name} must be read from the disk; received copy=False.")
        return np.asarray(self[:], dtype)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of entries."""
        return int(np.prod(self.shape))

    @property
    def shape(self) -> tuple[int, ...]:
        """As of the array."""
        raise NotImplementedError

    def _read(self, indices: Any) -> Array:
        raise NotImplementedError


class Images(_View):
    """Images of a source, indexed like a uint8 array `(N, H, W, C)`; decoded when indexed.

    Args:
        source: the source.

    Example:

    >>> images = Images(ArraySource(np.zeros((5, 8, 8, 1), "uint8"), np.arange(5)))
    >>> images.shape, images[1:3].shape, images[[0, 4, 4]].shape
    ((5, 8, 8, 1), (2, 8, 8, 1), (3, 8, 8, 1))
    """

    dtype = np.dtype("uint8")

    @property
    def shape(self) -> tuple[int, ...]:
        """`(N, H, W, C)`."""
        return (len(self.source), *self.source.image_shape)

    def _read(self, indices: Any) -> Array:
        if not len(indices):
            return np.empty((0, *self.source.image_shape), "uint8")
        if len(indices) <= _FEW:
            return self.source.images_at(np.asarray(indices))
        images = np.empty((len(indices), *self.source.image_shape), "uint8")

        def read(place: int) -> None:
            images[place] = self.source.image(int(indices[place]))

        _in_threads(read, len(indices))
        return images


class Labels(_View):
    """Labels of a source, indexed like an int32 array `(N,)`.

    Args:
        source: the source.

    Example:

    >>> labels = Labels(ArraySource(np.zeros((5, 8, 8, 1), "uint8"), np.arange(5)))
    >>> labels[1:3].tolist(), int(labels[-1])
    ([1, 2], 4)
    """

    dtype = np.dtype("int32")

    @property
    def shape(self) -> tuple[int, ...]:
        """`(N,)`."""
        return (len(self.source),)

    def _read(self, indices: Any) -> Array:
        return self.source.labels_at(np.asarray(indices, int))


def _in_threads(work: Callable[[int], None], count: int) -> None:
    """Decoders release Python's lock, so that threads share the work."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(work, range(count)):
            pass
