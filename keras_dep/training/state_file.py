"""The file format of training states, for exact resume.

A state is one safetensors file. Its tensors are the variables of the model and its optimizer; its
metadata hold the rest as JSON, and the SHA-256 of the whole file. Two files take turns by the
parity of the epoch. Each is written under another name and renamed, so one complete generation is
on the disk at every instant, even if the process is killed while it saves.
"""

import dataclasses
import hashlib
import json
import os
import re
import struct
import warnings
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from keras_dep._internal import atomic_io
from keras_dep._internal.types import Array
from keras_dep._internal.types import Record

FORMAT = "keras_dep training state 2"
# Safetensors' names of dtypes; Keras registers bfloat16 and the like with NumPy.
_DTYPES = {"BOOL": "bool", "BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2"}
_DTYPES |= {f"F{bits}": f"float{bits}" for bits in (16, 32, 64)}
_DTYPES |= {f"I{bits}": f"int{bits}" for bits in (8, 16, 32, 64)}
_DTYPES |= {f"U{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)}
# The checksum counts as zeros in its own computation. Quotes inside of the JSON are escaped.
_NO_DIGEST = "0" * 64
_DIGEST = re.compile(rb'"sha256":"([0-9a-f]{64})"')
# Format 1: magic, length of the JSON, JSON, arrays in its order, SHA-256 of all before.
_FORMAT_1 = struct.Struct("<8sQ")
_MAGIC_1 = b"KDEPRUN1"


@dataclasses.dataclass(frozen=True, eq=False)
class State:
    """Everything that training changes, after an epoch.

    Args:
        variables: arrays by name, as `checkpoint.snapshot` gives them.
        optimizer: class name of the optimizer.
        epochs_completed: number of epochs trained.
        iterations: optimizer iterations.
        finished: whether `fit` ran to its end.
        counters: JSON-able state of each callback, by its name.
        history: dict from metric to its value per epoch.
        metadata: JSON-able dict that identifies the run.
    """

    variables: dict[str, Array]
    optimizer: str
    epochs_completed: int
    iterations: int
    finished: bool
    counters: Record
    history: dict[str, list]
    metadata: Record


def generations(path: str) -> tuple[str, str]:
    """The two files of a state, the one of even epochs first."""
    return f"{path}.0", f"{path}.1"


def save(path: str, state: State) -> None:
    """Writes a state to one of the two files of `path`; the other one is left alone.

    Args:
        path: path without the ending `.0` or `.1`, in a folder that exists.
        state: the `State`.

    Raises:
        ValueError: counters, history or metadata hold something that JSON cannot.
        OSError: the file cannot be written; one line with its path and the free space.

    Example:

    >>> import tempfile
    >>> path = tempfile.mkdtemp() + "/state"
    >>> variables = {"model/0/dense/kernel": np.ones((2, 3), "float32")}
    >>> save(path, State(variables, "SGD", 1, 40, False, {}, {"loss": [0.5]}, {}))
    >>> newest(path).history
    {'loss': [0.5]}
    >>> safetensors.numpy.load_file(path + ".1")["model/0/dense/kernel"].shape
    (2, 3)
    """
    facts = dict(vars(state))
    # Safetensors takes the bytes of an array as they lie in memory.
    arrays = {name: np.asarray(a, order="C") for name, a in facts.pop("variables").items()}
    text = _to_json(facts, "get_state() and the logs")
    metadata = {"format": FORMAT, "state": text, "sha256": _NO_DIGEST}
    content = memoryview(safetensors.numpy.save(arrays, metadata))
    start, end = _span_of_digest(content)
    digest = hashlib.sha256(content).hexdigest().encode()
    target = generations(path)[state.epochs_completed % 2]
    with atomic_io.whole_file(target) as unfinished, open(unfinished, "wb") as file:
        for piece in (content[:start], digest, content[end:]):
            file.write(piece)


def newest(path: str) -> State | None:
    """Reads the newest undamaged state, and warns if it had to skip a damaged file.

    Args:
        path: as for `save`.

    Returns:
        The `State`, or `None` if there is no file.

    Raises:
        ValueError: every file that is there is damaged, or one has an unknown format.
    """
    found: list[State] = []
    damaged = {}
    for name in filter(os.path.exists, generations(path)):
        try:
            found.append(_load(name))
        except _DamageError as error:
            damaged[name] = str(error)
    if damaged and not found:
        raise ValueError(
            f"no generation of the training state can be read; received {damaged}; "
            "remove these files to start from the beginning."
        )
    found.sort(key=lambda state: state.epochs_completed)
    for name, damage in damaged.items():
        warnings.warn(
            f"the training state {name} is damaged ({damage}); going back to the other "
            f"generation, epoch {found[-1].epochs_completed}",
            stacklevel=3,
        )
    return found[-1] if found else None


def epochs_completed(path: str) -> int:
    """The epochs that a state has behind it, from the headers of its files; 0 without a state.

    Args:
        path: as for `save`.

    Example:

    >>> import tempfile
    >>> path = tempfile.mkdtemp() + "/state"
    >>> save(path, State({}, "SGD", 3, 120, False, {}, {}, {}))
    >>> epochs_completed(path)
    3
    """
    found = [0]
    for name in generations(path):
        try:
            with open(name, "rb") as file:
                header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
            found.append(json.loads(header["__metadata__"]["state"])["epochs_completed"])
        # A missing, damaged or former file counts as none; `newest` tells more.
        except (OSError, ValueError, KeyError, OverflowError, MemoryError):
            continue
    return max(found)


def check_writable(path: str) -> None:
    """Creates the folder of a state, and raises `ValueError` unless it can be written."""
    folder = os.path.dirname(path)
    try:
        atomic_io.try_folder(folder)
    except OSError as error:
        raise ValueError(
            f"path must be in a folder that can be written; received {path} ({error}; "
            f"{atomic_io.free_bytes(folder)} bytes free); choose another path or mend its "
            "permissions."
        ) from error


def as_json(value: Any, name: str) -> Any:
    """A value as it comes back from a state: tuples are lists, for example.

    Raises:
        ValueError: JSON cannot hold it; the message has `name`.
    """
    return json.loads(_to_json(value, name))


class _DamageError(Exception):
    """A file that is not a complete state."""


def _load(path: str) -> State:
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise _DamageError(error.strerror or str(error)) from error
    if content.startswith(_MAGIC_1):
        return _load_format_1(content)
    start, end = _span_of_digest(content)
    digest = hashlib.sha256(content[:start] + _NO_DIGEST.encode())
    digest.update(memoryview(content)[end:])
    if digest.hexdigest().encode() != content[start:end]:
        raise _DamageError("the checksum is wrong")
    # Safetensors begins with the length of its JSON header.
    length = int.from_bytes(content[:8], "little")
    metadata = json.loads(content[8 : 8 + length])["__metadata__"]
    if metadata.get("format") != FORMAT:
        raise ValueError(
            f"{path} must have the format {FORMAT!r}; received {metadata.get('format')!r}; "
            "resume with the version of keras_dep that wrote it."
        )
    arrays = {
        name: np.frombuffer(tensor["data"], _DTYPES[tensor["dtype"]]).reshape(tensor["shape"])
        for name, tensor in safetensors.deserialize(content)
    }
    # Safetensors sorts by dtype and name.
    ordered = sorted(arrays, key=lambda name: int(name.split("/")[1]))
    return State({name: arrays[name] for name in ordered}, **json.loads(metadata["state"]))


def _load_format_1(content: bytes) -> State:
    body, digest = memoryview(content)[:-32], content[-32:]
    if hashlib.sha256(body).digest() != digest:
        raise _DamageError("the checksum is wrong")
    _, length = _FORMAT_1.unpack_from(body)
    start = _FORMAT_1.size + length
    facts = json.loads(bytes(body[_FORMAT_1.size : start]))
    del facts["fingerprint"]
    arrays = {}
    for index, entry in enumerate(facts.pop("variables")):
        array = np.ndarray(entry["shape"], entry["dtype"], buffer=body, offset=start)
        arrays[f"{entry['of']}/{index}/{entry['path']}"] = array.copy()
        start += array.nbytes
    return State(arrays, **facts)


def _to_json(value: Any, name: str) -> str:
    # Python's JSON keeps NaN and infinities.
    try:
        return json.dumps(value)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} must hold only what JSON can: dicts, lists, strings and numbers; "
            f"received others ({error}); convert them."
        ) from error


def _span_of_digest(content: bytes | memoryview) -> tuple[int, int]:
    found = _DIGEST.search(content)
    if found is None:
        raise _DamageError("it has no checksum")
    return found.span(1)
