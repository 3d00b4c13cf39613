"""Prepares image sets in the folder of TensorFlow Datasets, and checks what lies there."""

import hashlib
import json
import os
import pathlib
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_dep._internal import atomic_io
from keras_dep._internal import validation
from keras_dep.data import records
from keras_dep.data import sources
from keras_dep.data import tfds_files
from keras_dep.data import tiny_imagenet
from keras_dep.data.events import Framing
from keras_dep.data.events import builders
from keras_dep.data.source import Source
from keras_dep.data.tfds_files import ArchiveError
from keras_dep.data.tfds_files import DataMissingError

# SHA-256 of every file of a prepared set, beside these files.
CHECKSUMS = "keras_dep_sha256.json"
_PART = 1000


def prepare(
    name: str,
    data_dir: str | os.PathLike[str] | None = None,
    manual_dir: str | os.PathLike[str] | None = None,
    report: Callable[[str], None] = print,
) -> pathlib.Path:
    """Prepares a set, unless it is prepared already, and records the checksums of its files.

    Args:
        name: one of `sources.names()`.
        data_dir: folder of prepared sets, see `sources.load`.
        manual_dir: folder of the archives that are downloaded by hand.
        report: function of each line of progress.

    Returns:
        The prepared folder, `<data_dir>/<name>/<version>`; `data_dir` for the digits.

    Raises:
        DataMissingError: an archive is missing, incomplete or damaged, or the set could not be
            prepared; the message says what to download and where to put it.
        ValueError: unknown name.
    """
    validation.one_of("dataset", name, sources.names())
    root = tfds_files.root(data_dir)
    if name not in tfds_files.NAMES:
        report(f"{name} is part of the package; nothing to prepare.")
        return root
    try:
        folder, _ = tfds_files.find(name, root)
        report(f"{name} is prepared in {folder}.")
    except DataMissingError:
        archives = [
            _archive(name, *each, manual_dir) for each in tfds_files.RELEASES[name].archives
        ]
        for path, wanted in archives:
            _check_archive(name, path, wanted, report)
        _build(name, root, manual_dir)
        folder, _ = tfds_files.find(name, root)
        report(f"{name} prepared in {folder}.")
    path = folder / CHECKSUMS
    if not path.exists():
        with atomic_io.whole_file(str(path)) as unfinished:
            pathlib.Path(unfinished).write_text(json.dumps(_checksums(folder), indent=1))
        report(f"checksums recorded in {path}.")
    return folder


def check(
    name: str,
    data_dir: str | os.PathLike[str] | None = None,
    report: Callable[[str], None] = print,
) -> list[str]:
    """Checks a prepared set: its files, its counts, and every image and label.

    Args:
        name: one of `sources.names()`.
        data_dir: folder of prepared sets, see `sources.load`.
        report: function of each line of progress.

    Returns:
        What differs from the published set, one line each; empty if nothing does.

    Raises:
        DataMissingError: the set is missing or incomplete.
        ValueError: unknown name, or an image that cannot be decoded.
    """
    validation.one_of("dataset", name, sources.names())
    faults: list[str] = []
    if name in tfds_files.NAMES:
        folder, _ = tfds_files.find(name, tfds_files.root(data_dir))
        faults += _changed_files(folder, report)
    # One frame counts all events of a recording.
    data = sources.load(name, data_dir=data_dir, framing=Framing(timesteps=1))
    release = tfds_files.RELEASES.get(name)
    for split, source in (("train", data.train), ("test", data.test)):
        per_class = _read_all(source, report)
        if release is None:
            continue
        wanted = getattr(release, split)
        if len(source) != wanted:
            faults.append(f"{split}: {len(source)} images; the published set has {wanted}")
        if source.num_classes != release.classes:
            faults.append(
                f"{split}: {source.num_classes} classes; the published set has {release.classes}"
            )
        empty = int((per_class == 0).sum())
        if empty:
            faults.append(f"{split}: {empty} classes without an image")
    return faults


def _archive(
    name: str, file: str, size: int, md5: str, manual_dir: str | os.PathLike[str] | None
) -> tuple[pathlib.Path, tuple[int, str]]:
    page = tfds_files.RELEASES[name].page
    if manual_dir is None or not (path := pathlib.Path(manual_dir).expanduser() / file).is_file():
        where = "in no given folder" if manual_dir is None else f"not in {os.fspath(manual_dir)}"
        raise DataMissingError(
            f"{name} needs {file}, which is {where}; download it from {page}, put it there "
            "as it is, and pass --manual_dir"
        )
    return path, (size, md5)


def _check_archive(
    name: str, path: pathlib.Path, wanted: tuple[int, str], report: Callable[[str], None]
) -> None:
    """Reports an archive that is not the published one; its content is checked when it is read."""
    size, md5 = wanted
    found = path.stat().st_size
    if size and found != size:
        report(f"note: {path} has {found} bytes; the published archive of {name} has {size}.")
        return
    report(f"checking {path} ...")
    if _digest(path, "md5") != md5:
        report(f"note: {path} has another MD5 than the published archive of {name}, {md5}.")


def _build(name: str, root: pathlib.Path, manual_dir: str | os.PathLike[str] | None) -> None:
    """Runs the builder of TensorFlow Datasets."""
    records.library()
    # With TensorFlow, which writes the files.
    tfds = sources.reader()
    download = tfds.download.DownloadConfig(manual_dir=manual_dir and os.fspath(manual_dir))
    try:
        if name == "tiny_imagenet":
            builder = tiny_imagenet.builder(str(root), tfds_files.RANDOM_ACCESS)
        elif name in tfds_files.EVENT_SETS:
            builder = builders.builder(name, str(root), tfds_files.RANDOM_ACCESS)
        elif tfds_files.RELEASES[name].archives:
            builder = tfds.builder(name, data_dir=str(root), file_format=tfds_files.RANDOM_ACCESS)
        else:
            builder = tfds.builder(name, data_dir=str(root))
        tfds.disable_progress_bar()
        builder.download_and_prepare(download_config=download)
    except Exception as error:
        raise DataMissingError(f"{name} could not be prepared: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    """The fault of the archive, or the first error: TensorFlow Datasets wraps both in its own."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ArchiveError):
        error, cause = cause, cause.__cause__
    return str(cause) if cause is not None else tfds_files.one_line(error)


def _read_all(source: Source, report: Callable[[str], None]) -> Any:
    """Decodes every image; returns the number of images per class."""
    counts = np.zeros(source.num_classes, int)
    for start in range(0, len(source), _PART):
        part = slice(start, start + _PART)
        source.images[part]
        counts += np.bincount(source.labels[part], minlength=source.num_classes)
    report(
        f"{source.name}: {len(source)} images {source.image_shape} in {source.num_classes} "
        f"classes, {counts.min()} to {counts.max()} images each; all decoded."
    )
    return counts


def _changed_files(folder: pathlib.Path, report: Callable[[str], None]) -> Iterator[str]:
    path = folder / CHECKSUMS
    if not path.exists():
        report(f"no checksums in {folder}; `prepare` records them.")
        return
    recorded, found = json.loads(path.read_text()), _checksums(folder)
    for file in sorted(recorded.keys() | found.keys()):
        if recorded.get(file) != found.get(file):
            what = "is missing" if file not in found else "is not the file that was prepared"
            yield f"{folder / file} {what}"
    report(f"checksums of {len(recorded)} files in {folder} compared.")


def _checksums(folder: pathlib.Path) -> dict[str, str]:
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name != CHECKSUMS)
    return {path.name: _digest(path, "sha256") for path in files}


def _digest(path: pathlib.Path, kind: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()
