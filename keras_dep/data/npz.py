"""Images and labels from an `.npz` file, to evaluate on."""

import os
import pathlib
import zipfile
from collections.abc import Mapping

import numpy as np

from keras_dep._internal import validation
from keras_dep._internal.types import Array
from keras_dep.data import pixels
from keras_dep.data.sources import Dataset

# Names of images and labels, those of Keras' own files included.
PAIRS = (("images", "labels"), ("x_test", "y_test"))


def is_file_name(name: object) -> bool:
    """Whether a name ends as an `.npz` file's.

    Example:

    >>> is_file_name("test.npz"), is_file_name("cifar10")
    (True, False)
    """
    return isinstance(name, str) and name.endswith(".npz")


def load_npz(path: str | os.PathLike[str]) -> Dataset:
    """Loads images and labels written by `numpy.savez(path, images=..., labels=...)`.

    Args:
        path: file with the arrays `images`, uint8 or float in [0, 1], of shape `(N, H, W, C)` or as
            the model takes them; `labels`, whole numbers `(N,)` or `(N, 1)`, or one-hot rows; and,
            optionally, `classes`, their number, which is otherwise the largest label plus one.
            `x_test` and `y_test` are other names of the first two.

    Returns:
        A `Dataset` of these as test images, without training images; `mean` and `std` are those of
        the images, and `name` is the name of the file.

    Raises:
        ValueError: a missing or damaged file, missing arrays, images of another type or outside
            [0, 1], labels that do not fit the images or the classes; one line.

    Example:

    >>> import tempfile
    >>> path = tempfile.mkdtemp() + "/two.npz"
    >>> np.savez(path, images=np.zeros((2, 4, 4, 1), "uint8"), labels=[0, 3])
    >>> data = load_npz(path)
    >>> data.image_shape, data.num_classes, data.y_test.tolist()
    ((4, 4, 1), 4, [0, 3])
    """
    path = pathlib.Path(path)
    arrays = _arrays(path)
    try:
        images, labels = _pair(arrays)
        given = arrays.get("classes")
        classes = None if given is None else validation.whole_number("classes", given[()], 2)
        scaled, labels = validation.images_and_labels(pixels.scaled(images), labels, classes)
    except ValueError as error:
        raise ValueError(f"{path} cannot be used: {error}") from None
    count = max(int(labels.max()) + 1, 2) if classes is None else classes
    axes = tuple(range(scaled.ndim - 1))
    return Dataset(
        name=path.name,
        x_train=images[:0],
        y_train=labels[:0],
        x_test=images,
        y_test=labels,
        num_classes=count,
        mean=tuple(map(float, scaled.mean(axes))),
        std=tuple(map(float, scaled.std(axes))),
        label_names=tuple(map(str, range(count))),
    )


def _arrays(path: pathlib.Path) -> Mapping[str, Array]:
    if not path.is_file():
        raise ValueError(f"{path} is not there; name an .npz file with images and labels.")
    try:
        with np.load(path, allow_pickle=False) as file:
            names = {"classes", *(name for pair in PAIRS for name in pair)}
            found = {name: file[name] for name in file.files if name in names}
            return found or dict.fromkeys(file.files, np.empty(0))
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())[:120]
        raise ValueError(
            f"{path} is no .npz file of numbers ({reason}); write it by numpy.savez(path, "
            "images=..., labels=...)."
        ) from None


def _pair(arrays: Mapping[str, Array]) -> tuple[Array, Array]:
    for images, labels in PAIRS:
        if images in arrays and labels in arrays:
            return arrays[images], arrays[labels]
    held = ", ".join(sorted(arrays)) or "no array"
    raise ValueError(
        f"expected the arrays images and labels, or x_test and y_test; received {held}; write it "
        "by numpy.savez(path, images=..., labels=...)."
    )
