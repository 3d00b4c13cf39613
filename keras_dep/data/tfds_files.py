"""Where a set prepared by TensorFlow Datasets lies, and whether it is whole.

Standard library alone: an app asks here before it spends seconds on importing Keras.
"""

import json
import os
import pathlib
import re

NAMES = ("cifar10", "cifar100")
_VERSION = re.compile(r"\d+\.\d+\.\d+")


class DataMissingError(ValueError):
    """The set is not on disk, only half there, or cannot be read; the message is one line."""


def root(data_dir=None):
    """The folder of prepared sets: `data_dir`, else `TFDS_DATA_DIR`, else the user's own."""
    folder = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return pathlib.Path(folder).expanduser()


def find(name, root):
    """The newest prepared folder of a set, judged by its json and file sizes.

    Args:
        name: one of `NAMES`.
        root: `pathlib.Path` of the folder that holds `<name>/<version>/`.

    Returns:
        `(folder, examples)`, the examples a dict from `"train"` and `"test"` to their number.

    Raises:
        DataMissingError: no such folder, or one that is incomplete or damaged.
    """
    versions = [path for path in (root / name).glob("*") if _VERSION.fullmatch(path.name)]
    if not versions:
        raise missing(name, root, "no such folder")
    folder = max(versions, key=lambda path: [int(part) for part in path.name.split(".")])
    try:
        _json(folder / "features.json")
        info = _json(folder / "dataset_info.json")
        splits = {split["name"]: split for split in info["splits"]}
        return folder, {key: _examples(folder, info, splits[key]) for key in ("train", "test")}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise damaged(name, root, folder, error) from error


def missing(name, root, what):
    """The error that says where `name` was expected, what was found, and how to get it."""
    return DataMissingError(
        f"{name} expected in {root / name / '<version>'}, found {what}; pass --download, or run "
        f"`tfds build {name} --data_dir={root}`, or point --data_dir at a prepared set"
    )


def damaged(name, root, folder, error):
    """`missing`, for a folder that is there and cannot be used."""
    what = f"{folder.name} incomplete or damaged ({one_line(error)}), which must be removed first"
    return missing(name, root, what)


def one_line(error):
    """The first line of an error's text, behind its kind."""
    lines = str(error).strip().splitlines() or [""]
    kind = "" if type(error) is ValueError else f"{type(error).__name__}: "
    return f"{kind}{lines[0][:200]}"


def _examples(folder, info, split):
    """Returns the number of examples of a split whose shards are all there, at full size."""
    lengths = [int(length) for length in split["shardLengths"]]
    kind = info.get("fileFormat") or "tfrecord"
    # A TFRecord frames each record with 16 bytes: length, and two checksums.
    frame = 16 if kind == "tfrecord" else 0
    template = split.get("filepathTemplate") or "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
    found = 0
    for index in range(len(lengths)):
        first, last = f"{index:05d}", f"{len(lengths):05d}"
        shard = folder / template.format(
            DATASET=info["name"], SPLIT=split["name"], FILEFORMAT=kind,
            SHARD_X_OF_Y=f"{first}-of-{last}", SHARD_INDEX=first, NUM_SHARDS=last,
        )  # fmt: skip
        found += shard.stat().st_size
    payload = int(split.get("numBytes") or 0)
    expected = payload + frame * sum(lengths)
    # Sets built from ready-made shards count the frames in numBytes.
    if frame and found < expected and found != payload:
        raise ValueError(f"{split['name']} shards hold {found} bytes instead of {expected}")
    return sum(lengths)


def _json(path):
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path.name}: {one_line(error)}") from error
