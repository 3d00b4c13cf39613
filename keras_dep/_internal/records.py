"""Records of results as strict JSON files with a checksum, checked when they are read."""

import hashlib
import json
import math
import os
import types
from typing import Any

from keras_dep._internal import atomic_io
from keras_dep._internal.types import Record

# Strings in place of non-finite numbers, named as in Protocol Buffers' JSON mapping.
NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_CHECKSUM = "sha256"
_KINDS = {
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "true or false",
    type(None): "null",
    dict: "an object",
    list: "a list",
    object: "anything",
}


def write(path: str | os.PathLike[str], record: Record) -> None:
    """Writes a record as strict JSON, atomically.

    JSON has no NaN and no infinities: they are written as the strings `"NaN"`, `"Infinity"` and
    `"-Infinity"`, which `read` turns into numbers again. The file gets one more key, `"sha256"`:
    the SHA-256 of the record in JSON without line breaks, which `read` verifies and leaves out.

    Args:
        path: the file, in a folder that exists.
        record: dictionary with string keys; its values are such dictionaries, lists, tuples,
            strings, Python numbers, booleans and `None`.

    Raises:
        OSError: the file cannot be written; one line with `path` and the free space.

    Example:

    >>> import tempfile
    >>> path = tempfile.mkdtemp() + "/result.json"
    >>> write(path, {"accuracy": 0.5, "loss": math.inf})
    >>> read(path, {"accuracy": float, "loss": float}, "train again")
    {'accuracy': 0.5, 'loss': inf}
    """
    with atomic_io.whole_file(path) as unfinished, open(unfinished, "w", encoding="utf-8") as file:
        file.write(to_json({**record, _CHECKSUM: _digest(record)}, indent=2) + "\n")


def to_json(record: Record, indent: int | None = None) -> str:
    """Returns the JSON text that `write` writes."""
    return json.dumps(_marked(record), indent=indent, allow_nan=False)


def plain(record: Record) -> Record:
    """Returns a record as `read` returns it after `write`: tuples become lists."""
    return _unmarked(json.loads(to_json(record)))


def read(path: str | os.PathLike[str], schema: Any, mend: str) -> Record:
    """Reads a record and checks it.

    Args:
        path: the file.
        schema: the expected content. A type, or a union of types such as `float | None`, accepts
            its values; an integer counts as a float, and a boolean as neither. A dictionary accepts
            an object with at least these keys, `{str: schema}` one with any keys, a list of one
            schema a list of any length, and a tuple any of several schemas.
        mend: advice for the error message, for example `"train again"`.

    Returns:
        The record, with the numbers that `write` marked. Files of earlier revisions, which have no
        checksum and may hold NaN and infinities as JSON does not allow, are read too.

    Raises:
        ValueError: the file is missing, is not JSON, is truncated, or has the wrong checksum, or a
            value is missing or of another type; one line with the file, the fault and the mend.
    """
    path = os.fspath(path)
    try:
        with open(path, encoding="utf-8") as file:
            record = json.load(file)
        digest = record.pop(_CHECKSUM, None) if isinstance(record, dict) else None
        is_intact = digest is None or digest == _digest(record)
        record = _unmarked(record)
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror or error}); {mend}.") from error
    except (ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path} is damaged, not whole JSON ({reason}); {mend}.") from error
    if not is_intact:
        raise ValueError(f"{path} is damaged, its checksum is wrong; {mend}.")
    check(path, record, schema, mend)
    return record


def check(path: str | os.PathLike[str], record: Any, schema: Any, mend: str) -> None:
    """Raises `ValueError` unless a record that a file holds fits a schema; see `read`."""
    fault = _fault(record, schema, "")
    if fault:
        raise ValueError(f"{path} is not the file expected: {fault}; {mend}.")


def _digest(record: Record) -> str:
    content = {key: value for key, value in record.items() if key != _CHECKSUM}
    return hashlib.sha256(to_json(content).encode()).hexdigest()


def _marked(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _marked(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_marked(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _unmarked(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _unmarked(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_unmarked(each) for each in value]
    return NOT_FINITE.get(value, value) if isinstance(value, str) else value


def _fault(value: Any, schema: Any, place: str) -> str | None:
    """Describes how a value violates a schema; returns `None` if it fits."""
    if isinstance(schema, tuple):
        faults = [_fault(value, each, place) for each in schema]
        # The last alternative is the most detailed.
        return None if None in faults else faults[-1]
    if isinstance(schema, list):
        pairs = enumerate(value) if isinstance(value, list) else ()
        inner_faults = (_fault(each, schema[0], f"{place}[{index}]") for index, each in pairs)
        return _wrong(value, list, place) or next(filter(None, inner_faults), None)
    if isinstance(schema, dict):
        if fault := _wrong(value, dict, place):
            return fault
        if str in schema:
            schema = dict.fromkeys(value, schema[str])
        for key, each in schema.items():
            inner = f"{place}.{key}" if place else key
            fault = _fault(value[key], each, inner) if key in value else f"{inner!r} is missing"
            if fault:
                return fault
        return None
    return _wrong(value, schema, place)


def _wrong(value: Any, kind: Any, place: str) -> str | None:
    kinds = kind.__args__ if isinstance(kind, types.UnionType) else (kind,)
    accepted = (*kinds, int) if float in kinds else kinds
    # In Python booleans are integers.
    if isinstance(value, bool):
        accepted = tuple(each for each in accepted if each in (bool, object))
    if isinstance(value, accepted):
        return None
    wanted = " or ".join(_KINDS[each] for each in kinds)
    named = f"{place!r}" if place else "it"
    shown = repr(value)
    if len(shown) > 40:
        shown = f"{type(value).__name__} {shown[:30]}..."
    return f"{named} must be {wanted}; received {shown}"
