"""Sources and their views against the arrays they stand for."""

import numpy as np
import pytest

from keras_dep.data import pixels
from keras_dep.data.epochs import EpochBatches
from keras_dep.data.loader import Batches
from keras_dep.data.source import ArraySource
from keras_dep.data.source import Images
from keras_dep.data.source import Labels
from keras_dep.data.source import Source


def make_arrays(count=23):
    images = np.random.default_rng(0).integers(0, 256, (count, 6, 5, 3), dtype=np.uint8)
    return images, np.arange(count, dtype="int32") % 4


class OneByOne(Source):
    """Gives the images of arrays as one that decodes files does."""

    def __init__(self, x, y):
        super().__init__("one_by_one", x.shape[1:], 4)
        self.x, self.y = x, y
        self.read = []

    def __len__(self):
        return len(self.x)

    def original(self, index):
        self.read.append(index)
        return self.x[index]

    def label(self, index):
        return int(self.y[index])

    @property
    def fingerprint(self):
        return "none"


KEYS = [3, -1, slice(2, 9), slice(None, None, 5), slice(4, 4), [0, 7, 7], np.array([22, 0, -3])]


@pytest.mark.parametrize("key", KEYS, ids=str)
@pytest.mark.parametrize("kind", [ArraySource, OneByOne])
def test_views_index_like_arrays(kind, key):
    x, y = make_arrays()
    source = kind(x, y)
    for found, expected in ((source.images[key], x[key]), (source.labels[key], y[key])):
        np.testing.assert_array_equal(found, expected)
        assert np.asarray(found).dtype == expected.dtype
    images, labels = Images(source), Labels(source)
    assert (images.shape, images.ndim, images.size, len(images)) == (x.shape, 4, x.size, 23)
    assert (labels.shape, labels.dtype, images.dtype) == ((23,), np.int32, np.uint8)


def test_views_turn_into_arrays_and_read_only_what_is_asked_for():
    x, y = make_arrays()
    source = OneByOne(x, y)
    image, label = source[5]
    np.testing.assert_array_equal(image, x[5])
    assert label == y[5] and len(source) == 23
    np.testing.assert_array_equal(source.images[3:5], x[3:5])
    assert source.read == [5, 3, 4]
    np.testing.assert_array_equal(np.asarray(source.images), x)
    np.testing.assert_array_equal(pixels.scaled(source.images), pixels.scaled(x))
    for index in (23, -24):
        with pytest.raises(IndexError):
            source[index]


def test_fingerprints_of_arrays_are_of_content_type_and_shape():
    x, y = make_arrays()
    other = x.copy()
    other[0, 0, 0, 0] ^= 1
    variants = [(x, y), (other, y), (x, (y + 1) % 4), (x.reshape(23, 5, 6, 3), y), (x[:22], y[:22])]
    variants.append((x / 255, y))
    assert len({ArraySource(*each).fingerprint for each in variants}) == len(variants)
    assert ArraySource(x.copy(), y.copy()).fingerprint == ArraySource(x, y).fingerprint


@pytest.mark.parametrize("augment", [None, "paper", "resized_crop"])
def test_a_source_gives_the_batches_of_its_arrays(augment):
    pytest.importorskip("grain")
    x, y = make_arrays()
    source = OneByOne(x, y)
    options = {"batch_size": 4, "seed": 3, "augment": augment, "drop_remainder": False}
    wanted = Batches(x, y, **options)
    found = Batches(source.images, source.labels, workers=2, **options)
    for epoch in (0, 2):
        wanted.epoch = found.epoch = epoch
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(one[0], other[0])
            np.testing.assert_array_equal(one[1], other[1])
            assert (one[0].dtype, one[1].dtype) == (np.float32, np.int32)
    found.close()


def test_batches_of_a_machine_need_no_batch_before_them():
    source = ArraySource(*make_arrays())
    one, other = (EpochBatches(source=source, batch_size=5, seed=1) for _ in range(2))
    in_order = {(epoch, index): one.batch(epoch, index) for epoch in range(3) for index in range(4)}
    for key in [(2, 1), (0, 3), (1, 0), (2, 0)]:
        for found, expected in zip(other.batch(*key), in_order[key]):
            np.testing.assert_array_equal(found, expected)
    assert sorted(np.concatenate([one.indices(1, i) for i in range(4)])) != list(range(20))


def test_labels_of_another_source_are_refused():
    x, y = make_arrays()
    with pytest.raises(ValueError, match="y must be the labels of the source of x, one_by_one"):
        Batches(OneByOne(x, y).images, y, batch_size=2)
