"""The public archive of DVS-CIFAR10: a zip file per class, of recordings in AEDAT 2.0."""

import pathlib
import re
import zipfile
from collections.abc import Iterator

from keras_dep.data.events import aedat
from keras_dep.data.events.recording import Recording
from keras_dep.data.tfds_files import RELEASES
from keras_dep.data.tfds_files import ArchiveError

CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
PAGE = RELEASES["dvs_cifar10"].page
# Recordings 0 to 99 of each class are the test set, as in TEBN (Duan et al., NeurIPS 2022).
TEST_PER_CLASS = 100
_FILE = re.compile(r"(?:.*/)?cifar10_([a-z]+)_(\d+)\.aedat")


def recordings(folder: pathlib.Path, split: str) -> Iterator[Recording]:
    """Yields the recordings of a split, class by class and by number.

    The authors published no split. Here recordings 0 to 99 of each class are the test set and the
    other 900 the training set.

    Args:
        folder: the folder with `airplane.zip` to `truck.zip`.
        split: `"train"` or `"test"`.

    Yields:
        Each `Recording`.

    Raises:
        ArchiveError: a zip file is missing or damaged, holds a recording of another class, or no
            recording, or a recording is damaged; one line that names the file.
    """
    for label, name in enumerate(CLASSES):
        path = folder / f"{name}.zip"
        try:
            with zipfile.ZipFile(path) as archive:
                yield from _of_class(archive, path, name, label, split)
        # A damaged member raises any of these.
        except (OSError, zipfile.BadZipFile, zipfile.LargeZipFile, EOFError) as error:
            raise ArchiveError(
                f"{path} cannot be read ({error}); download it from {PAGE} again."
            ) from error


def _of_class(
    archive: zipfile.ZipFile, path: pathlib.Path, name: str, label: int, split: str
) -> Iterator[Recording]:
    numbered = {}
    for member in archive.namelist():
        if found := _FILE.fullmatch(member):
            if found.group(1) != name:
                raise ArchiveError(
                    f"{path}: {member} must be a recording of {name}; received one of "
                    f"{found.group(1)}; download the archive from {PAGE} again."
                )
            numbered[int(found.group(2))] = member
    if not numbered:
        raise ArchiveError(
            f"{path} must hold recordings cifar10_{name}_<number>.aedat; received none; download "
            f"it from {PAGE} again."
        )
    for number in sorted(numbered):
        if (number < TEST_PER_CLASS) == (split == "test"):
            member = numbered[number]
            try:
                events = aedat.parse_aedat2(archive.read(member), f"{path}: {member}")
            except ValueError as error:
                raise ArchiveError(str(error)) from error
            yield Recording(f"{name}_{number}", label, events)
