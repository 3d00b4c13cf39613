"""Images for the apps: a data set by its name, or a file of images and labels."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

# An app loads this module before it has chosen a backend.
if TYPE_CHECKING:
    from keras_dep._internal.types import Array
    from keras_dep.data import Dataset
    from keras_dep.data.events import Framing


def check(name: str | None) -> None:
    """Raises `ValueError` unless a name is that of a data set or of an `.npz` file."""
    from keras_dep._internal import validation
    from keras_dep.data import npz
    from keras_dep.data import sources

    if not npz.is_file_name(name):
        validation.one_of(
            "dataset", name, sources.names(), "set --dataset to one of them or an .npz file"
        )


def load(
    name: str, data_dir: str | None, examples: int, framing: Framing | None = None
) -> tuple[Dataset, Array, Array]:
    """Loads the first test images of a data set.

    Args:
        name: name of a data set, or path of an `.npz` file, see `keras_dep.data.load_npz`.
        data_dir: folder of prepared sets, or `None` for the user's.
        examples: number of images; fewer if there are fewer.
        framing: how the recordings of an event set become frames.

    Returns:
        The data set, float32 images in [0, 1] and labels.

    Raises:
        ValueError: a file or a data set that is not there or has other content; one line.
    """
    from keras_dep.data import npz
    from keras_dep.data import pixels
    from keras_dep.data import sources

    if npz.is_file_name(name):
        data = npz.load_npz(os.path.expanduser(name))
    else:
        data = sources.load(name, data_dir=data_dir, framing=framing)
    return data, pixels.scaled(data.x_test[:examples]), data.y_test[:examples]
