"""Image sets in memory or on the disk, and batches that depend on (seed, epoch, index) alone."""

from keras_dep.data.epochs import EpochBatches
from keras_dep.data.loader import Batches
from keras_dep.data.loader import FollowEpoch
from keras_dep.data.npz import load_npz
from keras_dep.data.source import ArraySource
from keras_dep.data.source import Images
from keras_dep.data.source import Labels
from keras_dep.data.source import Source
from keras_dep.data.sources import Dataset
from keras_dep.data.sources import load
from keras_dep.data.sources import names

__all__ = [
    "ArraySource",
    "Batches",
    "Dataset",
    "EpochBatches",
    "FollowEpoch",
    "Images",
    "Labels",
    "Source",
    "load",
    "load_npz",
    "names",
]
