"""Finds sets prepared by TensorFlow Datasets, and checks that their files are complete.

Uses the standard library alone, because an app checks the files before it imports Keras.
"""

import dataclasses
import json
import os
import pathlib
import re
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
}
NAMES = tuple(RELEASES)
# The format that is read image by image.
RANDOM_ACCESS = "array_record"
_VERSION = re.compile(r"\d+\.\d+\.\d+")


class DataMissingError(ValueError):
    """The set is missing, incomplete or unreadable; the message is one line."""


def root(data_dir: str | os.PathLike[str] | None = None) -> pathlib.Path:
    """The folder of prepared sets: `data_dir`, else `TFDS_DATA_DIR`, else the one in the home."""
    folder = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return pathlib.Path(folder).expanduser()


def find(name: str, root: pathlib.Path) -> tuple[pathlib.Path, dict[str, int]]:
    """Finds the newest prepared folder of a set, and checks its JSON files and file sizes.

    Args:
        name: one of `NAMES`.
        root: the folder that contains `<name>/<version>/`.

    Returns:
        The folder, and the number of examples of `"train"` and `"test"`.

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
        splits = {split["name"]: split for split in info["splits"]}
        _check_format(name, info)
        named = {"train": "train", "test": RELEASES[name].test_split}
        return folder, {key: _examples(folder, info, splits[split]) for key, split in named.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise DataMissingError(damaged(name, root, folder, error)) from error


def missing(name: str, root: pathlib.Path, what: str) -> str:
    """The message with the expected folder, its content, and how to get the set."""
    how = f"pass --download, or run `tfds build {name} --data_dir={root}`"
    if RELEASES[name].archives:
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
    if RELEASES[name].archives and found != RANDOM_ACCESS:
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
