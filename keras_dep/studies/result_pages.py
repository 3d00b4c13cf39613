"""Pages of the docs made from result files: the claims, and the tables."""

import math
import os
from collections.abc import Sequence

from keras_dep._internal.types import Record
from keras_dep.evaluation.report import aligned
from keras_dep.studies import claims
from keras_dep.studies import result_files
from keras_dep.studies.lines import Line
from keras_dep.studies.scales import NAMES

_NOTHING = "No results are there yet.\n"
_START = """# The paper's claims

What the runs in `results/` say of each claim of arXiv 2505.11134. This page is made from those
files by `make results-docs`. Each claim is a difference that is positive on the claimed side. It
*stands* where the 95 % interval of its mean over three seeds or more lies there under correct
semantics; it *stands under the released protocol only* where it does so there alone; it is
*reversed* where the interval lies on the other side, and *open* where the interval holds zero or
there are fewer than three seeds. The `smoke` scale only shows that everything runs.
"""
_TABLES_START = """# Tables

What the runs in `results/` gave, made from those files by `make results-docs`: mean +- deviation of
a sample, with the number of seeds in round brackets, and the paper's figure in square ones. The
files hold every value with its protocol. The networks and data are far smaller than the paper's, as
[Remaking the paper's tables](guides/reproduction.md) says; compare methods within a table.
"""


def claims_page(folder: str) -> str:
    """The page of claims, from the files of all scales below a folder.

    Args:
        folder: holds a folder for each scale, with files `table-<name>.json`.

    Raises:
        ValueError: a file that is damaged or of another schema.
    """
    parts = [_START]
    for scale in NAMES:
        tables = result_files.of_scale(folder, scale)
        if tables:
            parts.append(_judged(folder, scale, tables))
    if len(parts) == 1:
        parts.append(_NOTHING)
    return "\n".join(parts)


def _judged(folder: str, scale: str, tables: dict[str, result_files.Table]) -> str:
    found = claims.judge([line for table in tables.values() for line in table.lines])
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
        sources = [
            f"`results/{os.path.relpath(path, folder)}`"
            for name in claim.tables
            if name in tables
            for path in tables[name].files
        ]
        made = f" From {', '.join(sources)}." if sources else ""
        rows.append(f"{claim.number}. {claim.measured}.{made}")
    rows += ["", *(_provenance(table) for table in tables.values()), ""]
    return "\n".join(rows)


def _provenance(table: result_files.Table) -> str:
    return "\n".join(_made(record) for record in table.files.values())


def _made(record: Record) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    hours = record["seconds"] / 3600
    return (
        f"- {record['title']}: `{record['command']}`; {record['device']}; {versions}; commit "
        f"{record['commit'] or 'unknown'}, runs at {', '.join(record['commits']) or 'none'}; "
        f"{hours:.2g} hours of training and measurement."
    )


def _interval(found: Record | None) -> str:
    if found is None:
        return "-"
    low, high = found["interval"]
    if math.isinf(low):
        return f"{found['mean']:.4g}, n = {found['n']}"
    return f"{found['mean']:.4g} ({low:.4g} to {high:.4g}), n = {found['n']}"


def tables_page(folder: str) -> str:
    """The page of tables, from the files of all scales below a folder.

    Args:
        folder: as in `claims_page`.

    Raises:
        ValueError: a file that is damaged or of another schema.
    """
    parts = [_TABLES_START]
    for scale in NAMES:
        for table in result_files.of_scale(folder, scale).values():
            parts.append(f"## {table.title}, scale {scale}\n")
            datasets = dict.fromkeys(line.dataset for line in table.lines)
            for dataset in datasets:
                lines = [line for line in table.lines if line.dataset == dataset]
                parts += [f"### {dataset}\n", _crossed(lines)]
            parts.append(f"{_provenance(table)}\n")
    if len(parts) == 1:
        parts.append(_NOTHING)
    return "\n".join(parts)


def _crossed(lines: Sequence[Line]) -> str:
    """Runs against figures, the fewer of them as columns; what is missing in a sentence."""
    found = {(_run(line), line.quantity): _cell(line) for line in lines if line.values}
    runs = list(dict.fromkeys(run for run, _ in found))
    figures = list(dict.fromkeys(figure for _, figure in found))
    turned = len(figures) > len(runs)
    columns, rows = (runs, figures) if turned else (figures, runs)
    text = [f"| | {' | '.join(columns)} |", "|---|" + "---:|" * len(columns)]
    for row in rows:
        keys = [(column, row) if turned else (row, column) for column in columns]
        text.append(f"| {row} | {' | '.join(found.get(key, '') for key in keys)} |")
    table = aligned("\n".join(text)) + "\n" if found else ""
    missing = [line for line in lines if not line.values]
    if missing:
        reasons = "; ".join(dict.fromkeys(reason for line in missing for reason in line.reasons))
        table += f"\nMissing: {len(missing)} of {len(lines)} figures ({reasons}).\n"
    return table


def _run(line: Line) -> str:
    return f"{line.network}, {line.method}, {line.condition}"


def _cell(line: Line) -> str:
    paper = "" if line.paper is None else f" [{line.paper:g}]"
    return f"{line.ours} ({len(line.values)}){paper}"
