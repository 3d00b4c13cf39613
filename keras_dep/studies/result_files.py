"""Tables as small JSON files, by scale."""

import os
from collections.abc import Iterable

from keras_dep._internal import records
from keras_dep._internal.types import Record
from keras_dep.experiments import grid
from keras_dep.studies import catalogue
from keras_dep.studies import lines as table_lines
from keras_dep.studies.study import Study

SCHEMA = 2
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
    "lines": [{"dataset": str, "method": str, "condition": str, "quantity": str, "values": list}],
}
_MEND = "make it again with apps/reproduce.py"


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
    return {**record, "lines": [table_lines.from_record(line) for line in record["lines"]]}


def of_scale(folder: str, scale: str) -> dict[str, Record]:
    """The tables of a scale that are there, by name, in the order of the studies.

    Args:
        folder: holds a folder for each scale, with files `table-<name>.json`.
        scale: name of the scale.

    Raises:
        ValueError: a file that is damaged or of another schema.
    """
    paths = {name: os.path.join(folder, scale, name_of(name)) for name in catalogue.STUDIES}
    return {name: read(path) for name, path in paths.items() if os.path.exists(path)}
