"""Finds sets prepared by TensorFlow Datasets, and checks that their files are complete.

Uses the standard library alone, because an app checks the files before it imports Keras.
"""

import json
import os
import pathlib
import re
from typing import Any

NAMES = ("cifar10", "cifar100")
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
        return folder, {key: _examples(folder, info, splits[key]) for key in ("train", "test")}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise DataMissingError(damaged(name, root, folder, error)) from error


def missing(name: str, root: pathlib.Path, what: str) -> str:
    """The message with the expected folder, its content, and how to get the set."""
    return (
        f"{name} expected in {root / name / '<version>'}, found {what}; pass --download, or run "
        f"`tfds build {name} --data_dir={root}`, or point --data_dir at a prepared set"
    )


def damaged(name: str, root: pathlib.Path, folder: pathlib.Path, error: Exception) -> str:
    """As `missing`, for a folder that exists and cannot be used."""
    what = f"{folder.name} incomplete or damaged ({one_line(error)}), which must be removed first"
    return missing(name, root, what)


def one_line(error: Exception) -> str:
    """The type of an error and the first line of its text."""
    lines = str(error).strip().splitlines() or [""]
    kind = "" if type(error) is ValueError else f"{type(error).__name__}: "
    return f"{kind}{lines[0][:200]}"


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
