"""The paper's Table 2 and the alignment, as Markdown tables of the results of `measure`."""

import dataclasses
import math
import statistics
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence

from keras_dep._internal.types import Record
from keras_dep.curvature import alignment
from keras_dep.evaluation.report import aligned
from keras_dep.studies.curvature.protocol import TRAINING

# The columns of Table 2, and one more.
COMPARED = {
    "spectral_radius": "spectral radius",
    "printed_ratio": "lambda_1 / sum as printed",
    "leading_share": "share of magnitudes",
}
ENDS = {"largest": "largest eigenvalue", "smallest": "smallest eigenvalue"}
WORDS = {"cosine": "cosine of removed to sharpest, in magnitude"}
FIELDS = tuple(f.name for f in dataclasses.fields(alignment.Alignment) if f.name != "layers")


def markdown(measured: Mapping[str, Record]) -> str:
    """Returns all tables of the runs that `measure` measured, by name, as Markdown."""
    makers = (_compared, _ends, _alignment, _trace, _epochs)
    tables = [make(measured) for make in makers]
    (loss,) = {run["loss"] for run in measured.values()}
    kinds = next(iter(_first(measured)["spectra"].values()))
    batches = len(next(iter(kinds.values())))
    legend = f"Mean (deviation), median over {batches} batches. Loss: {loss}, in inference mode."
    return aligned("\n\n".join("\n".join(table) for table in (*tables, [legend]) if table))


def summary(values: Sequence[float]) -> dict[str, float]:
    """Returns mean, sample deviation and median.

    Example:

    >>> summary([1.0, 2.0, 3.0])
    {'mean': 2.0, 'deviation': 1.0, 'median': 2.0}
    """
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return {
        "mean": statistics.fmean(values),
        "deviation": spread,
        "median": statistics.median(values),
    }


def surrogate_label(run: Record, name: str) -> str:
    """Returns the label of a surrogate of the protocol in the result of a run."""
    words = run["surrogates"][name]
    return f"training: {words}" if name == TRAINING else words


def alignments(run: Record, surrogate: str) -> list[Record]:
    """Returns the alignments on clean batches in the result of a run."""
    records = run["spectra"][surrogate].get("clean", [])
    return [record["alignment"] for record in records if "alignment" in record]


def by_epoch(records: Iterable[Record], figure: Callable[[Record], float]) -> dict[int, list]:
    """Returns a dictionary from epoch to a value of each of its batches."""
    found: dict[int, list] = {}
    for record in records:
        found.setdefault(record["epoch"], []).append(figure(record))
    return found


def _compared(measured):
    """Table 2: the runs beside one another, for each kind of images."""
    heads = [f"{words}, {name}" for words in COMPARED.values() for name in measured]
    lines = [_row(["surrogate", "images", *heads]), "|---|---|" + "---|" * len(heads)]
    for surrogate, kinds in _first(measured)["spectra"].items():
        # The runs may have been trained through surrogates of their own.
        labels = dict.fromkeys(surrogate_label(run, surrogate) for run in measured.values())
        for kind in kinds:
            cells = [
                _cell([record[figure] for record in run["spectra"][surrogate][kind]])
                for figure in COMPARED
                for run in measured.values()
            ]
            lines.append(_row(["; ".join(labels), kind, *cells]))
    return lines


def _ends(measured):
    """Both ends of the spectrum, and how far the worst eigenvalue may be off."""
    heads = [*ENDS.values(), "worst residual"]
    lines = [_row(["surrogate", "images", "run", *heads]), "|---|---|---|---|---|---|"]
    for surrogate, kinds in _first(measured)["spectra"].items():
        for kind in kinds:
            for name, run in measured.items():
                records = run["spectra"][surrogate][kind]
                cells = [_cell([record[end] for record in records]) for end in ENDS]
                worst = max(record["residual"] for record in records)
                label = surrogate_label(run, surrogate)
                lines.append(_row([label, kind, name, *cells, f"{worst:.2g}"]))
    return lines


def _alignment(measured):
    columns = [
        (f"{name}, {surrogate_label(run, surrogate)}", alignments(run, surrogate))
        for surrogate in _first(measured)["spectra"]
        for name, run in measured.items()
    ]
    if not any(found for _, found in columns):
        return []
    lines = [
        _row(["alignment on clean images", *(label for label, _ in columns)]),
        "|---|" + "---|" * len(columns),
    ]
    for field in FIELDS:
        cells = [_cell([one[field] for one in found]) for _, found in columns]
        words = WORDS.get(field) or field.replace("_", " ")
        lines.append(_row([words, *cells]))
    return lines


def _trace(measured):
    lines = ["| surrogate | run | trace, first clean batch | standard error |", "|---|---|---|---|"]
    for surrogate in _first(measured).get("trace", {}):
        for name, run in measured.items():
            figures = [f"{run['trace'][surrogate][key]:.4g}" for key in ("value", "error")]
            lines.append(_row([surrogate_label(run, surrogate), name, *figures]))
    return lines if len(lines) > 2 else []


def _epochs(measured):
    lines = [
        "| surrogate | run | epoch, clean images | spectral radius | share of magnitudes |",
        "|---|---|---|---|---|",
    ]
    for surrogate in _first(measured)["epochs"]:
        for name, run in measured.items():
            records = run["epochs"][surrogate]
            radii = by_epoch(records, lambda record: record["spectral_radius"])
            shares = by_epoch(records, lambda record: record["leading_share"])
            for epoch, values in radii.items():
                label = surrogate_label(run, surrogate)
                lines.append(_row([label, name, str(epoch), _cell(values), _cell(shares[epoch])]))
    return lines if len(lines) > 2 else []


def _first(measured):
    return next(iter(measured.values()))


def _row(cells):
    return f"| {' | '.join(cells)} |"


def _cell(values):
    if not values or not all(map(math.isfinite, values)):
        return "-"
    if len(values) == 1:
        return f"{values[0]:.4g}"
    return "{mean:.4g} ({deviation:.3g}), {median:.4g}".format(**summary(values))
