"""Damages to a file: truncated, emptied, removed, a byte flipped, or taken from another run."""

import json
import shutil


def damages(path):
    """The damages that a file can take, each with whether every reader must refuse the file."""
    yield ("emptied",), True
    yield ("removed",), True
    for share in ("0.01", "0.5", "0.99"):
        yield ("cut", share), True
    # A flipped byte of an archive may be one that no reader uses.
    for share in ("0", "0.1", "0.3", "0.5", "0.7", "0.9", "1"):
        yield ("flipped", share), path.suffix == ".json"
    yield ("other",), False
    if path.suffix == ".json":
        for text in ("{}", "[]", "null", "3", '"x"'):
            yield ("content", text), True
        record = json.loads(path.read_text())
        record.pop("sha256", None)
        for index, place in enumerate(_places(record)):
            if len(place) == 1 or index % 2:
                yield ("without", *place), False
            if len(place) == 1 or not index % 2:
                yield ("retyped", *place), False


def harm(path, damage, other):
    """Damages a file; `other` is that of another run."""
    content, (what, *how) = path.read_bytes(), damage
    if what == "removed":
        path.unlink()
    elif what == "emptied":
        path.write_bytes(b"")
    elif what == "cut":
        path.write_bytes(content[: int(float(how[0]) * len(content))])
    elif what == "flipped":
        place = min(int(float(how[0]) * len(content)), len(content) - 1)
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x11]) + content[place + 1 :])
    elif what == "other":
        shutil.copy(other, path)
    elif what == "content":
        path.write_text(how[0])
    else:
        record = json.loads(content)
        # With its checksum, a changed record would be refused without a look at its values.
        record.pop("sha256", None)
        inner = record
        for key in how[:-1]:
            inner = inner[key]
        kind = inner.pop(how[-1])
        if what == "retyped":
            inner[how[-1]] = _of_another_type(kind)
        path.write_text(json.dumps(record))


def _places(record, depth=2):
    """Keys of a record and of the objects in it."""
    for key, value in record.items():
        yield (key,)
        if isinstance(value, dict) and depth > 1:
            yield from ((key, *inner) for inner in _places(value, depth - 1))


def _of_another_type(value):
    if isinstance(value, str):
        return 3
    if isinstance(value, dict):
        return []
    return {"x": []} if isinstance(value, list) or value is None else "x"
