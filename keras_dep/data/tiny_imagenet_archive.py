"""The public archive of Tiny ImageNet, `tiny-imagenet-200.zip`, read without unpacking it."""

import pathlib
import re
import zipfile
from collections.abc import Iterator
from typing import NamedTuple

from keras_dep.data import preprocessing
from keras_dep.data.tfds_files import ArchiveError

ARCHIVE = "tiny-imagenet-200.zip"
SIDE = 64
_ROOT = "tiny-imagenet-200/"
_ANNOTATIONS = f"{_ROOT}val/val_annotations.txt"
_TRAINING = re.compile(rf"{_ROOT}train/([^/]+)/images/([^/]+\.JPEG)")
_VALIDATION = re.compile(rf"{_ROOT}val/images/([^/]+\.JPEG)")


class Member(NamedTuple):
    """An image of the archive.

    Attributes:
        name: its path in the archive.
        wnid: its class, a WordNet id.
        encoded: the content of the file, checked to be a whole image of 64x64 pixels.
    """

    name: str
    wnid: str
    encoded: bytes


class Archive:
    """Reads classes and images, and refuses what does not have the layout of the public archive.

    Args:
        path: the archive.

    Raises:
        ArchiveError: it is missing or damaged, or holds a file that is no image of 64x64 pixels, an
            image without label, or one in the folder of another class; a `ValueError`.
    """

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile) as error:
            raise ArchiveError(
                f"{path} cannot be read ({error}); download {ARCHIVE} again."
            ) from error
        self._names = [name for name in self._zip.namelist() if name.endswith(".JPEG")]
        # Sorted, as torchvision numbers the classes of a folder.
        self.classes = sorted(self._text(f"{_ROOT}wnids.txt").split())

    def training_images(self) -> Iterator[Member]:
        """The training images in the archive's order."""
        for name in self._names:
            if found := _TRAINING.fullmatch(name):
                folder, file = found.groups()
                wnid = file.rsplit("_", 1)[0]
                if folder not in self.classes:
                    raise self._fault(
                        name, f"lies in the folder of {folder}, which wnids.txt does not list"
                    )
                if wnid != folder:
                    raise self._fault(name, f"belongs to the class {wnid} by its name")
                yield self._member(name, folder)

    def validation_images(self) -> Iterator[Member]:
        """The validation images in the archive's order, with labels from its text file."""
        lines = self._text(_ANNOTATIONS).splitlines()
        labels = dict(line.split("\t")[:2] for line in lines if "\t" in line)
        images = {f"{_ROOT}val/images/{file}" for file in labels}
        if missing := sorted(images - set(self._names)):
            raise self._fault(missing[0], "is not there")
        for name in self._names:
            if found := _VALIDATION.fullmatch(name):
                wnid = labels.get(found.group(1))
                if wnid is None:
                    raise self._fault(name, f"has no label in {_ANNOTATIONS}")
                if wnid not in self.classes:
                    raise self._fault(name, f"has the label {wnid}, which wnids.txt does not list")
                yield self._member(name, wnid)

    def _member(self, name: str, wnid: str) -> Member:
        encoded = self._read(name)
        try:
            image = preprocessing.decode(encoded, f"{self.path}: {name}")
        except ValueError as error:
            raise ArchiveError(str(error)) from error
        if image.shape[:2] != (SIDE, SIDE):
            size = f"{image.shape[1]}x{image.shape[0]}"
            raise self._fault(name, f"has {size} pixels instead of {SIDE}x{SIDE}")
        return Member(name, wnid, encoded)

    def _text(self, name: str) -> str:
        return self._read(name).decode()

    def _read(self, name: str) -> bytes:
        try:
            return self._zip.read(name)
        except KeyError as error:
            raise self._fault(name, "is not there") from error
        # A wrong checksum, or bytes that cannot be inflated.
        except Exception as error:
            raise self._fault(name, f"is damaged ({error})") from error

    def _fault(self, name: str, what: str) -> ArchiveError:
        return ArchiveError(f"{self.path}: {name} {what}; download {ARCHIVE} again.")
