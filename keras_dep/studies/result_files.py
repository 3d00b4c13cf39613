"""Tables as small JSON files, by scale, and the page of claims made from them."""

import math
import os
from collections.abc import Iterable

from keras_dep._internal import records
from keras_dep._internal.types import Record
from keras_dep.experiments import grid
from keras_dep.studies import catalogue
from keras_dep.studies import claims
from keras_dep.studies import lines as table_lines
from keras_dep.studies.scale import NAMES
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
_START = """# The paper's claims

What the runs in `results/` say of each claim of arXiv 2505.11134. This page is made from those
files by `make results-docs`. Each claim is a difference that is positive on the claimed side. It
*stands* where the 95 % interval of its mean over three seeds or more lies there under correct
semantics; it *stands under the released protocol only* where it does so there alone; it is
*reversed* where the interval lies on the other side, and *open* where the interval holds zero or
there are fewer than three seeds. The `smoke` scale only shows that everything runs.
"""


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


def claims_page(folder: str) -> str:
    """The page of claims, from the files of all scales below a folder.

    Args:
        folder: holds a folder for each scale, with files `table-<name>.json`.

    Raises:
        ValueError: a file that is damaged or of another schema.
    """
    parts = [_START]
    for scale in NAMES:
        tables = {
            name: read(path)
            for name in catalogue.STUDIES
            if os.path.exists(path := os.path.join(folder, scale, name_of(name)))
        }
        if tables:
            parts.append(_of_scale(scale, tables))
    if len(parts) == 1:
        parts.append("No results are there yet.\n")
    return "\n".join(parts)


def _of_scale(scale: str, tables: dict[str, Record]) -> str:
    found = claims.judge([line for table in tables.values() for line in table["lines"]])
    about = {claim.number: claim for claim in claims.CLAIMS}
    rows = [
        f"## Scale {scale}",
        "",
        "| | claim | data | verdict | correct semantics | released protocol |",
        "|---|---|---|---|---|---|",
    ]
    for each in found:
        claim = about[each["number"]]
        cells = [str(claim.number), f"{claim.text} ({claim.where})", each["dataset"]]
        cells += [f"**{each['verdict']}**", _interval(each["correct"]), _interval(each["released"])]
        rows.append(f"| {' | '.join(cells)} |")
    rows += ["", "What is compared, and where the figures come from:", ""]
    for claim in claims.CLAIMS:
        sources = [f"`results/{scale}/{name_of(n)}`" for n in claim.tables if n in tables]
        made = f" From {', '.join(sources)}." if sources else ""
        rows.append(f"{claim.number}. {claim.measured}.{made}")
    rows += ["", *(_provenance(table) for table in tables.values()), ""]
    return "\n".join(rows)


def _provenance(table: Record) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in table["versions"].items())
    hours = table["seconds"] / 3600
    return (
        f"- {table['title']}: `{table['command']}`; {table['device']}; {versions}; commit "
        f"{table['commit'] or 'unknown'}, runs at {', '.join(table['commits']) or 'none'}; "
        f"{hours:.2g} hours of training and measurement."
    )


def _interval(found: Record | None) -> str:
    if found is None:
        return "-"
    low, high = found["interval"]
    if math.isinf(low):
        return f"{found['mean']:.4g}, n = {found['n']}"
    return f"{found['mean']:.4g} ({low:.4g} to {high:.4g}), n = {found['n']}"
