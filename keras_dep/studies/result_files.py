"""Tables as small JSON files, by scale; a folder below the scale's is a part that fills holes."""

import dataclasses
import os
import re
from collections.abc import Iterable

from keras_dep._internal import records
from keras_dep._internal.types import Record
from keras_dep.experiments import grid
from keras_dep.studies import catalogue
from keras_dep.studies import lines as table_lines
from keras_dep.studies.study import Study

SCHEMA = 3
_SHAPE = {
    "schema": int,
    "scale": str,
    "table": str,
    "title": str,
    "command": str,
    "versions": {},
    "device": str,
    "commit": str | None,
    "commits": [str],
    "seconds": float,
    "lines": [
        {
            "dataset": str,
            "method": str,
            "condition": str,
            "quantity": str,
            "seeds": [int],
            "values": list,
            "holes": {str: str},
        }
    ],
}
_MEND = "make it again with apps/reproduce.py"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """A table of a scale, from the files of all its parts.

    Args:
        title: what it shows.
        lines: its lines, joined by `keras_dep.studies.lines.joined`.
        files: the record of each file, by its path.
    """

    title: str
    lines: list[table_lines.Line]
    files: dict[str, Record]


def name_of(table: str) -> str:
    """The file of a table.

    Example:

    >>> name_of('2')
    'table-2.json'
    """
    return f"table-{table}.json"


def write(path: str, study: Study, found: list[table_lines.Line], facts: Record) -> None:
    """Writes the lines of a study.

    Args:
        path: the file.
        study: the study.
        found: its lines.
        facts: `scale`, `command`, `seconds`, `commits` of the runs, and what `environment()`
            gives.
    """
    record = {"schema": SCHEMA, "table": study.name, "title": study.title, **facts}
    records.write(path, {**record, "lines": [line.as_record() for line in found]})


def commits(outcomes: Iterable[grid.Outcome]) -> list[str]:
    """The commits that finished runs were trained at, each once."""
    found = [each.result.get("commit") or "unknown" for each in outcomes if each.result]
    return list(dict.fromkeys(found))


def read(path: str) -> Record:
    """Reads a file that `write` left; its `lines` are `Line`s.

    Raises:
        ValueError: it is damaged or of another schema; one line with the file and the mend.
    """
    record = records.read(path, {"schema": int}, _MEND)
    if record["schema"] != SCHEMA:
        raise ValueError(f"{path} must have schema {SCHEMA}; received {record['schema']}; {_MEND}.")
    records.check(path, record, _SHAPE, _MEND)
    for line in record["lines"]:
        if len(line["seeds"]) != len(line["values"]) or not all(map(str.isdecimal, line["holes"])):
            raise ValueError(
                f"{path} is not the file expected: {line['quantity']} of {line['method']} must "
                f"have a seed for each value and hole; {_MEND}."
            )
    return {**record, "lines": [table_lines.from_record(line) for line in record["lines"]]}


def of_scale(folder: str, scale: str, without: str | None = None) -> dict[str, Table]:
    """The tables of a scale that are there, by name, in the order of the studies.

    Args:
        folder: holds a folder for each scale, with files `table-<name>.json`, and in it a folder
            for each further part.
        scale: name of the scale.
        without: a part to leave out.

    Raises:
        ValueError: a file that is damaged or of another schema.
    """
    first = os.path.join(folder, scale)
    there = os.listdir(first) if os.path.isdir(first) else []
    folders = [first, *(os.path.join(first, part) for part in sorted(there) if part != without)]
    found = {}
    for name in catalogue.STUDIES:
        paths = [os.path.join(each, name_of(name)) for each in folders]
        files = {path: read(path) for path in paths if os.path.exists(path)}
        if files:
            lines = table_lines.joined(record["lines"] for record in files.values())
            title = next(iter(files.values()))["title"]
            found[name] = Table(title=title, lines=lines, files=files)
    return found


def folder_of(folder: str, scale: str, part: str | None = None) -> str:
    """The folder of the files of a scale, or of a further part.

    Args:
        folder: as in `of_scale`.
        scale: name of the scale.
        part: name of the part.

    Raises:
        ValueError: `part` is no plain name.

    Example:

    >>> folder_of("results", "cpu", "more-seeds")
    'results/cpu/more-seeds'
    """
    if part is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", part):
        raise ValueError(
            f"part must be letters, digits, _ and - alone; received {part!r}; name it for "
            "example more-seeds."
        )
    return os.path.join(folder, scale, *([] if part is None else [part]))
