"""Finds sets prepared by TensorFlow Datasets, and checks that their files are complete.

Uses the standard library alone, because an app checks the files before it imports Keras.
"""

import dataclasses
import json
import os
import pathlib
import re
from collections.abc import Sequence
from typing import Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class Release:
    """A published set.

    Args:
        classes: number of classes.
        train: number of training images.
        test: number of test images.
        test_split: the split of TensorFlow Datasets that holds them.
        archives: files to download by hand, with size in bytes (0: unknown) and MD5; none where
            TensorFlow Datasets downloads the set itself.
        page: where they are.
    """

    classes: int
    train: int
    test: int
    test_split: str = "test"
    archives: tuple[tuple[str, int, str], ...] = ()
    page: str = ""


RELEASES = {
    "cifar10": Release(classes=10, train=50_000, test=10_000),
    "cifar100": Release(classes=100, train=50_000, test=10_000),
    "tiny_imagenet": Release(
        classes=200,
        train=100_000,
        test=10_000,
        test_split="validation",
        archives=(("tiny-imagenet-200.zip", 248_100_043, "90528d7ca1a48142e341f4ef8d21d0de"),),
        page="http://cs231n.stanford.edu/tiny-imagenet-200.zip",
    ),
    "imagenet2012": Release(
        classes=1000,
        train=1_281_167,
        test=50_000,
        test_split="validation",
        archives=(
            ("ILSVRC2012_img_train.tar", 0, "1d675b47d978889d74fa0da5fadfb00e"),
            ("ILSVRC2012_img_val.tar", 0, "29b22e2961454d5413ddabcf34fc5622"),
        ),
        page="https://image-net.org/download-images (after registration)",
    ),
    "dvs128_gesture": Release(
        classes=11,
        train=1176,
        test=288,
        archives=(("DvsGesture.tar.gz", 0, "8a5c71fb11e24e5ca5b11866ca6c00a1"),),
        page="https://ibm.ent.box.com/s/3hiq58ww1pbbjrinh367ykfdf60xsfm8",
    ),
    "dvs_cifar10": Release(
        classes=10,
        train=9000,
        test=1000,
        archives=(
            ("airplane.zip", 0, "0afd5c4bf9ae06af762a77b180354fdd"),
            ("automobile.zip", 0, "8438dfeba3bc970c94962d995b1b9bdd"),
            ("bird.zip", 0, "a9c207c91c55b9dc2002dc21c684d785"),
            ("cat.zip", 0, "52c63c677c2b15fa5146a8daf4d56687"),
            ("deer.zip", 0, "b6bf21f6c04d21ba4e23fc3e36c8a4a3"),
            ("dog.zip", 0, "f379ebdf6703d16e0a690782e62639c3"),
            ("frog.zip", 0, "cad6ed91214b1c7388a5f6ee56d08803"),
            ("horse.zip", 0, "e7cbbf77bec584ffbf913f00e682782a"),
            ("ship.zip", 0, "41c7bd7d6b251be82557c6cce9a7d5c9"),
            ("truck.zip", 0, "89f3922fd147d9aeff89e76a2b0b70a7"),
        ),
        page="https://doi.org/10.6084/m9.figshare.4724671",
    ),
}
NAMES = tuple(RELEASES)
# Recordings of event cameras, which are read as frames.
EVENT_SETS = ("dvs128_gesture", "dvs_cifar10")
# The format that is read image by image.
RANDOM_ACCESS = "array_record"
_VERSION = re.compile(r"\d+\.\d+\.\d+")


class DataMissingError(ValueError):
    """The set is missing, incomplete or unreadable; the message is one line."""


class ArchiveError(ValueError):
    """An archive is missing or damaged, or has another layout; one line that names the file."""


def root(data_dir: str | os.PathLike[str] | None = None) -> pathlib.Path:
    """The folder of prepared sets: `data_dir`, else `TFDS_DATA_DIR`, else the one in the home."""
    folder = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return pathlib.Path(folder).expanduser()


def find(
    name: str, root: pathlib.Path, splits: Sequence[str] = ("train", "test")
) -> tuple[pathlib.Path, dict[str, int]]:
    """Finds the newest prepared folder of a set, and checks its JSON files and file sizes.

    Args:
        name: one of `NAMES`, or another set, as `"cifar10_corrupted/fog_1"`.
        root: the folder that contains `<name>/<version>/`.
        splits: the splits that must be there.

    Returns:
        The folder, and the number of examples of each split.

    Raises:
        DataMissingError: there is no such folder, or it is incomplete or damaged.
    """
    versions = [path for path in (root / name).glob("*") if _VERSION.fullmatch(path.name)]
    if not versions:
        raise DataMissingError(missing(name, root, "no such folder"))
    folder = max(versions, key=lambda path: [int(part) for part in path.name.split(".")])
    try:
        _json(folder / "features.json")
        info = _json(folder / "dataset_info.json")
        found = {split["name"]: split for split in info["splits"]}
        _check_format(name, info)
        named = {split: split for split in splits}
        if name in RELEASES:
            named["test"] = RELEASES[name].test_split
        return folder, {key: _examples(folder, info, found[split]) for key, split in named.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise DataMissingError(damaged(name, root, folder, error)) from error


def missing(name: str, root: pathlib.Path, what: str) -> str:
    """The message with the expected folder, its content, and how to get the set."""
    how = f"pass --download, or run `tfds build {name} --data_dir={root}`"
    if name in RELEASES and RELEASES[name].archives:
        how = (
            f"run `python apps/data.py prepare --dataset={name} --data_dir={root} "
            "--manual_dir=FOLDER_OF_THE_ARCHIVES`"
        )
    return (
        f"{name} expected in {root / name / '<version>'}, found {what}; {how}, or point --data_dir "
        "at a prepared set"
    )


def damaged(name: str, root: pathlib.Path, folder: pathlib.Path, error: Exception) -> str:
    """As `missing`, for a folder that exists and cannot be used."""
    what = f"{folder.name} incomplete or damaged ({one_line(error)}), which must be removed first"
    return missing(name, root, what)


def one_line(error: BaseException) -> str:
    """The type of an error and the first line of its text."""
    lines = str(error).strip().splitlines() or [""]
    kind = "" if type(error) is ValueError else f"{type(error).__name__}: "
    return f"{kind}{lines[0][:200]}"


def _check_format(name: str, info: dict[str, Any]) -> None:
    found = info.get("fileFormat") or "tfrecord"
    by_hand = name in RELEASES and RELEASES[name].archives
    if by_hand and found != RANDOM_ACCESS:
        raise ValueError(f"the format is {found} instead of {RANDOM_ACCESS}")


def _examples(folder: pathlib.Path, info: dict[str, Any], split: dict[str, Any]) -> int:
    """The number of examples of a split, after a check that all shards have their full size."""
    lengths = [int(length) for length in split["shardLengths"]]
    kind = info.get("fileFormat") or "tfrecord"
    # A TFRecord adds 16 bytes to each record: its length and two checksums.
    frame = 16 if kind == "tfrecord" else 0
    template = split.get("filepathTemplate") or "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
    found = 0
    for index in range(len(lengths)):
        first, last = f"{index:05d}", f"{len(lengths):05d}"
        shard = folder / template.format(
            DATASET=info["name"],
            SPLIT=split["name"],
            FILEFORMAT=kind,
            SHARD_X_OF_Y=f"{first}-of-{last}",
            SHARD_INDEX=first,
            NUM_SHARDS=last,
        )
        found += shard.stat().st_size
    payload = int(split.get("numBytes") or 0)
    expected = payload + frame * sum(lengths)
    # Sets built from ready-made shards count these bytes in numBytes.
    if frame and found < expected and found != payload:
        raise ValueError(f"{split['name']} shards hold {found} bytes instead of {expected}")
    return sum(lengths)


def _json(path: pathlib.Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path.name}: {one_line(error)}") from error
