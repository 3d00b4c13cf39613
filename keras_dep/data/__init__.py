"""Data sets as arrays, and batches that depend on (seed, epoch, index) alone."""

from keras_dep.data.loader import Batches
from keras_dep.data.loader import FollowEpoch
from keras_dep.data.npz import load_npz
from keras_dep.data.sources import Dataset
from keras_dep.data.sources import load
from keras_dep.data.sources import names

__all__ = ["Batches", "Dataset", "FollowEpoch", "load", "load_npz", "names"]
