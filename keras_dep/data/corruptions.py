"""CIFAR-10-C: the test images of CIFAR-10 under 19 corruptions at five severities."""

import os
from collections.abc import Sequence

import numpy as np

from keras_dep._internal import validation
from keras_dep._internal.types import Array
from keras_dep.data import tfds_files
from keras_dep.data import tfds_reading
from keras_dep.data.tfds_files import DataMissingError

NAME = "cifar10_corrupted"
ARCHIVE = "CIFAR-10-C.tar of https://zenodo.org/records/2535967"
SEVERITIES = (1, 2, 3, 4, 5)
# Those of the mean corruption error, named as in TensorFlow Datasets.
BENCHMARK = (
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "defocus_blur",
    "frosted_glass_blur",
    "motion_blur",
    "zoom_blur",
    "snow",
    "frost",
    "fog",
    "brightness",
    "contrast",
    "elastic",
    "pixelate",
    "jpeg_compression",
)
# Meant for choosing hyperparameters, and not part of the mean.
EXTRA = ("gaussian_blur", "saturate", "spatter", "speckle_noise")


def check(
    corruptions: Sequence[str] = BENCHMARK,
    severities: Sequence[int] = SEVERITIES,
    data_dir: str | os.PathLike[str] | None = None,
) -> None:
    """Checks that corrupted images are prepared, without reading them.

    Args:
        corruptions: names among `BENCHMARK` and `EXTRA`.
        severities: whole numbers among `SEVERITIES`.
        data_dir: folder that contains `cifar10_corrupted/`, as for `keras_dep.data.load`.

    Raises:
        DataMissingError: a folder is missing, incomplete or damaged: one line with the first one,
            their number, and how to prepare them.
        ValueError: an unknown corruption or severity.

    Example:

    >>> check(["fog"], [6])
    Traceback (most recent call last):
        ...
    ValueError: severity must be one of 1, 2, 3, 4, 5; received 6.
    """
    faults = []
    for corruption in corruptions:
        for severity in severities:
            try:
                _find(corruption, severity, data_dir)
            except DataMissingError as error:
                faults.append(error)
    if faults:
        count = len(corruptions) * len(severities)
        raise DataMissingError(f"{faults[0]}; {len(faults)} of {count} such folders are missing")


def load(
    corruption: str,
    severity: int,
    data_dir: str | os.PathLike[str] | None = None,
    examples: int | None = None,
) -> tuple[Array, Array]:
    """Loads the test images under one corruption.

    Args:
        corruption: a name among `BENCHMARK` and `EXTRA`.
        severity: 1 to 5.
        data_dir: folder that contains `cifar10_corrupted/`, as for `keras_dep.data.load`.
        examples: number of images, the first ones in file order; `None` gives all.

    Returns:
        uint8 images `(N, 32, 32, 3)` and int32 labels `(N,)`.

    Raises:
        DataMissingError: the folder is missing, incomplete or unreadable.
        ValueError: an unknown corruption or severity, or more examples than there are.
    """
    name, folder, available = _find(corruption, severity, data_dir)
    count = available["test"]
    if examples is not None:
        validation.whole_number("examples", examples)
        if examples > count:
            raise ValueError(
                f"examples must be at most {count}, the images of {name}; received {examples}."
            )
        count = examples
    try:
        read = list(tfds_reading.examples(folder, "test", count))
        images = np.stack([example["image"] for example in read])
        labels = np.array([example["label"] for example in read], "int32")
        if images.dtype != np.uint8 or images.shape != (count, 32, 32, 3):
            raise ValueError(f"{images.dtype} images {images.shape}")
        if labels.min() < 0 or labels.max() > 9:
            raise ValueError(f"labels {labels.min()} to {labels.max()}")
    # TensorFlow Datasets raises errors of many types.
    except Exception as error:
        found = f"{folder}, found it damaged ({tfds_files.one_line(error)})"
        raise DataMissingError(_message(name, found, tfds_files.root(data_dir))) from error
    return images, labels


def _find(corruption, severity, data_dir):
    validation.one_of("corruption", corruption, (*BENCHMARK, *EXTRA))
    if isinstance(severity, bool) or severity not in SEVERITIES:
        choices = ", ".join(map(str, SEVERITIES))
        raise ValueError(f"severity must be one of {choices}; received {severity!r}.")
    name, root = f"{NAME}/{corruption}_{severity}", tfds_files.root(data_dir)
    try:
        return name, *tfds_files.find(name, root, ["test"])
    except DataMissingError as error:
        raise DataMissingError(_message(name, _found(error), root)) from error


def _found(error):
    """The found part of a message of `tfds_files`."""
    return str(error).partition("; ")[0].partition(" expected in ")[2]


def _message(name, found, root):
    return (
        f"{name} expected in {found}; prepare it with `tfds build {NAME} --data_dir={root}`, which "
        f"downloads {ARCHIVE} (2.9 GB), or add --manual_dir=FOLDER with that file in it"
    )
