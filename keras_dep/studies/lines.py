"""Lines of a table: one figure over seeds, beside the paper's, with its protocol."""

import csv
import dataclasses
import io
import json
import math
import statistics
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from collections.abc import Set
from typing import Any

from keras_dep._internal.types import Record
from keras_dep.evaluation.report import aligned
from keras_dep.experiments import grid
from keras_dep.studies.paper_values import PaperValue

CORRECT, RELEASED = "correct", "released"
OTHERWISE = "measured by another protocol"
_COUNTERPART = "ANN counterpart"
# Classes of the data sets that have another number than 10.
CLASSES = {"cifar100": 100, "tiny_imagenet": 200, "imagenet": 1000}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Line:
    """One figure of one method under one condition, over seeds.

    Args:
        dataset: data set.
        network: network.
        method: method.
        condition: kind of training in the paper's notation.
        quantity: what the figure is, with its unit.
        protocol: how it was measured.
        semantics: `"correct"`, or `"released"` where the poison or the attack is the released
            code's.
        seeds: seeds of the values.
        values: a value per seed.
        chance: accuracy of guessing, in percent.
        paper: the paper's figure, or `None`.
        paper_deviation: the deviation printed beside it, or `None`.
        holes: why a seed gave no value, by seed.

    Example:

    >>> Line(dataset="digits", network="vgg5", method="dep", condition="c", quantity="clean (%)",
    ...      protocol="", seeds=(0, 1), values=(50.0, 60.0), chance=10.0).ours
    '55 +- 7.07'
    """

    dataset: str
    network: str
    method: str
    condition: str
    quantity: str
    protocol: str
    semantics: str = CORRECT
    seeds: Sequence[int] = ()
    values: Sequence[float] = ()
    chance: float = 10.0
    paper: float | None = None
    paper_deviation: float | None = None
    holes: Mapping[int, str] = dataclasses.field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Data set, network, method and condition, as `key_of` gives them for a cell."""
        return self.dataset, self.network, self.method, self.condition

    @property
    def spiking(self) -> bool:
        """Whether the network is a spiking one, not an ANN counterpart."""
        return _COUNTERPART not in self.network

    @property
    def reasons(self) -> list[str]:
        """What `holes` says, each once."""
        return list(dict.fromkeys(self.holes.values()))

    @property
    def mean(self) -> float | None:
        """Mean over seeds, `None` without a value."""
        return statistics.fmean(self.values) if self.values else None

    @property
    def deviation(self) -> float | None:
        """Deviation of a sample, `None` with fewer than two values."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    @property
    def ours(self) -> str:
        """Mean and deviation as text; the reason where there is no value."""
        if self.mean is None:
            return "; ".join(self.reasons) or "-"
        if self.deviation is None:
            return f"{self.mean:.4g}"
        return f"{self.mean:.4g} +- {self.deviation:.3g}"

    def as_record(self) -> Record:
        """The line as JSON can hold it, with mean, deviation and n."""
        about = {"mean": self.mean, "deviation": self.deviation, "n": len(self.values)}
        holes = {str(seed): reason for seed, reason in self.holes.items()}
        return {**dataclasses.asdict(self), "holes": holes, **about}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Column:
    """How a figure is read from a finished run.

    Args:
        quantity: what it is, with its unit.
        protocol: function of the `Outcome`: how it was measured, in words.
        value: function of the `Outcome`: the figure, or `None` where the run has none.
        paper: function of the cell: the paper's figure.
        semantics: function of the cell: `"correct"` or `"released"`.
        applies: function of the cell: whether such a run can have the figure.
        needs: the measurement that it is read from, or `None` for `result.json`.
    """

    quantity: str
    protocol: Callable[[grid.Outcome], str]
    value: Callable[[grid.Outcome], float | None]
    paper: Callable[[grid.Cell], PaperValue | None] = lambda cell: None
    semantics: Callable[[grid.Cell], str] = lambda cell: CORRECT
    applies: Callable[[grid.Cell], bool] = lambda cell: True
    needs: str | None = None


def lines(outcomes: Iterable[grid.Outcome], columns: Sequence[Column]) -> list[Line]:
    """A line for each method, condition and column that some run was asked to give.

    Args:
        outcomes: finished runs and holes, of any seeds.
        columns: what to read.

    Returns:
        List of `Line`, in the order of the outcomes.
    """
    groups: dict[tuple[str, ...], list[grid.Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(key_of(outcome.cell), []).append(outcome)
    found = [_line(key, runs, each) for key, runs in groups.items() for each in columns]
    return [line for line in found if line is not None]


def key_of(cell: grid.Cell) -> tuple[str, str, str, str]:
    """Data set, network, method and condition: what runs of one mean share."""
    s = cell.settings
    network = s.model if s.spiking else f"{s.model}, {counterpart(s.learning_rate)}"
    return s.dataset, network, cell.method, grid.condition(s)


def counterpart(rate: float) -> str:
    """The ANN counterpart in words.

    Args:
        rate: its learning rate.

    Example:

    >>> counterpart(0.01)
    'ANN counterpart, rate 0.01'
    """
    return f"{_COUNTERPART}, rate {rate:g}"


def markdown(found: Sequence[Line], title: str) -> str:
    """Lines as a Markdown table under a title, with the protocols as numbered notes."""
    notes = list(dict.fromkeys(line.protocol for line in found))
    rows = ["| data | network | method | training | figure | ours | n | paper | protocol |"]
    rows.append("|---|---|---|---|---|---:|---:|---:|---:|")
    for line in found:
        note = str(notes.index(line.protocol) + 1)
        where = [line.dataset, line.network, line.method, line.condition, line.quantity]
        ours = line.ours if line.values else f"hole: {line.ours}"
        cells = [*where, ours, str(len(line.values)), _paper(line), note]
        rows.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    legend = ["Ours: mean +- deviation of a sample over n seeds. Protocols:", ""]
    legend += [f"{number}. {note}" for number, note in enumerate(notes, 1)]
    holes = dict.fromkeys(reason for line in found if line.values for reason in line.reasons)
    legend += ["", *(f"Fewer seeds than planned: {hole}" for hole in holes)] if holes else []
    table = aligned("\n".join(rows)) if found else "No run belongs to it at this scale."
    return "\n".join([f"# {title}", "", table, "", *legend]) + "\n"


def to_csv(found: Sequence[Line]) -> str:
    """Lines for programs, one row each; values are separated by spaces."""
    names = [field.name for field in dataclasses.fields(Line)]
    names += ["mean", "deviation", "n"]
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    for line in found:
        record = line.as_record()
        for name in ("seeds", "values"):
            record[name] = " ".join(map(str, record[name]))
        record["holes"] = json.dumps(record["holes"]) if line.holes else ""
        writer.writerow(record)
    return text.getvalue()


def from_record(record: Record) -> Line:
    """The line that `Line.as_record` gave."""
    known = {field.name for field in dataclasses.fields(Line)}
    given: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in record.items()
        if name in known
    }
    holes = {int(seed): reason for seed, reason in record["holes"].items()}
    return Line(**{**given, "holes": holes})


def joined(parts: Iterable[Iterable[Line]]) -> list[Line]:
    """The lines of a table that was made in parts: a value for each seed that some part has.

    Values of the same seed come from the later part, and so do the holes of a run that it has. A
    part that measured by another protocol than those before adds no value to the line, as one mean
    is over values of one kind; the seeds that it alone has stay holes that say so.

    Args:
        parts: the lines of each part.

    Returns:
        List of `Line`, in the order in which the parts have them first.

    Example:

    >>> about = dict(dataset="digits", network="vgg5", method="dep", condition="c", protocol="",
    ...              quantity="clean (%)")
    >>> first = Line(**about, seeds=(0,), values=(50.0,), holes={1: "not trained yet"})
    >>> second = Line(**about, seeds=(1,), values=(60.0,))
    >>> joined([[first], [second]])[0].values
    (50.0, 60.0)
    """
    found: dict[tuple[str, ...], Line] = {}
    for part in map(list, parts):
        runs = {(line.key, seed) for line in part for seed in (*line.seeds, *line.holes)}
        found = {key: _without_holes(line, runs) for key, line in found.items()}
        for line in part:
            key = (*line.key, line.quantity)
            found[key] = _filled(found[key], line) if key in found else line
    return [line for line in found.values() if line.values or line.holes]


def _without_holes(line: Line, runs: Set[tuple[tuple[str, ...], int]]) -> Line:
    holes = {seed: why for seed, why in line.holes.items() if (line.key, seed) not in runs}
    return dataclasses.replace(line, holes=holes)


def _filled(line: Line, later: Line) -> Line:
    values, holes = dict(zip(line.seeds, line.values)), {**line.holes, **later.holes}
    if line.values and later.values and line.protocol != later.protocol:
        holes |= dict.fromkeys(later.seeds, OTHERWISE)
        protocol = line.protocol
    else:
        values |= dict(zip(later.seeds, later.values))
        protocol = later.protocol if later.values else line.protocol
    return dataclasses.replace(
        line,
        protocol=protocol,
        seeds=tuple(sorted(values)),
        values=tuple(values[seed] for seed in sorted(values)),
        holes={seed: holes[seed] for seed in sorted(holes) if seed not in values},
    )


def _line(key: tuple[str, ...], runs: Sequence[grid.Outcome], column: Column) -> Line | None:
    asked = [
        run
        for run in runs
        if (column.needs is None or column.needs in run.measured) and column.applies(run.cell)
    ]
    found: dict[int, tuple[float, str]] = {}
    holes: dict[int, str] = {}
    for run in asked:
        value, reason = _value(run, column)
        if value is not None:
            found[run.cell.settings.seed] = value, column.protocol(run)
        elif reason is not None:
            holes[run.cell.settings.seed] = reason
    # A figure that runs of this kind do not have.
    if not found and not holes:
        return None
    dataset, network, method, condition = key
    cell = asked[0].cell
    paper = column.paper(cell)
    return Line(
        dataset=dataset,
        network=network,
        method=method,
        condition=condition,
        quantity=column.quantity,
        protocol=next((protocol for _, protocol in found.values()), "not measured"),
        semantics=column.semantics(cell),
        seeds=tuple(found),
        values=tuple(value for value, _ in found.values()),
        chance=100 / CLASSES.get(dataset, 10),
        paper=paper.value if paper else None,
        paper_deviation=paper.deviation if paper else None,
        holes=holes,
    )


def _value(run: grid.Outcome, column: Column) -> tuple[float | None, str | None]:
    """The figure of a run, or the reason why there is none; neither where it does not apply."""
    if run.result is None:
        return None, run.reason
    given = run.measured.get(column.needs) if column.needs else None
    if given is not None and "reason" in given:
        return None, given["reason"]
    value = column.value(run)
    if value is not None and not math.isfinite(value):
        return None, f"{column.quantity} is not finite"
    return value, None


def _paper(line: Line) -> str:
    if line.paper is None:
        return ""
    if line.paper_deviation is None:
        return f"{line.paper:g}"
    return f"{line.paper:g} ({line.paper_deviation:g})"
