"""The README's table and picture, from result files."""

import io
import json
import re
from collections.abc import Sequence

import matplotlib
from matplotlib.figure import Figure

from keras_dep.evaluation.report import aligned
from keras_dep.studies import result_files
from keras_dep.studies.lines import Line

SCALE, DATASET = "cpu", "cifar10"
BEGIN, END = "<!-- results: made by make results-docs -->", "<!-- end of results -->"
_CLEAN = "clean accuracy (%)"
_POISON = {"text's attack": "", "released attack": ", poison released"}
# Heading, condition and quantity of each column.
_COLUMNS = (
    ("clean", "c", _CLEAN),
    ("PGD-7", "c", "PGD accuracy (%)"),
    ("worst case", "c", "worst-case accuracy (%)"),
    *(
        (f"clean, poison: {name}", f"c/+p_0, 5 batches{end}", _CLEAN)
        for name, end in _POISON.items()
    ),
)
_COLOURS = {**dict(zip(_POISON, ("C0", "C1"))), "": "C2"}
_RADIUS = re.compile(r"pgd at ([\d.]+)/255: accuracy \(%\)")
_LARGEST = 16.0
# Abscissa and ordinate of each panel.
_PANELS = {
    "poisoned batches per epoch": "clean accuracy (%)",
    "radius of PGD in grey levels of 255": "accuracy (%)",
}


def table(folder: str) -> str:
    """Methods against clean accuracy, attacks and poison, in Markdown.

    Args:
        folder: holds a folder for each scale, with files `table-<name>.json`.

    Raises:
        ValueError: a file that is damaged or of another schema.
    """
    found = {(line.method, (line.condition, line.quantity)): line for line in _lines(folder)}
    methods = [method for method, where in found if where == ("c", _CLEAN)]
    text = [f"| | {' | '.join(name for name, *_ in _COLUMNS)} |"]
    text.append("|---|" + "---:|" * len(_COLUMNS))
    for method in methods:
        lines = [found.get((method, (how, quantity))) for _, how, quantity in _COLUMNS]
        cells = [_mean(line) if line and line.values else "" for line in lines]
        text.append(f"| `{method}` | {' | '.join(cells)} |")
    return aligned("\n".join(text))


def renewed(readme: str, made: str) -> str:
    """The README with a new table between its marks.

    Raises:
        ValueError: the marks are missing.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the README must hold {BEGIN!r} and {END!r} around its table; add them.")
    return f"{before}{BEGIN}\n{made}\n{END}{after}"


def picture(folder: str) -> str:
    """Clean accuracy by poisoned batches, and accuracy along the radius of PGD, as SVG.

    Its description holds what `drawn` gives.

    Args:
        folder: as in `table`.

    Raises:
        ValueError: a file that is damaged or of another schema.
    """
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    panels = dict(zip(_PANELS, figure.subplots(1, len(_PANELS))))
    for name, curves in json.loads(drawn(folder)).items():
        axes = panels[name]
        for label, (at, means, spread) in curves.items():
            style = "-" if label.startswith("DEP") else "--"
            colour = _COLOURS[label.partition(", ")[2]]
            axes.errorbar(
                at, means, spread, ls=style, marker="o", color=colour, capsize=2, label=label
            )
        axes.set(xlabel=name, ylabel=_PANELS[name], ylim=(0, None))
        axes.grid(alpha=0.25)
        if curves:
            axes.legend(fontsize="small")
    text = io.StringIO()
    metadata = {"Description": drawn(folder), "Date": None, "Creator": None}
    with matplotlib.rc_context({"svg.hashsalt": "keras_dep"}):
        figure.savefig(text, format="svg", metadata=metadata)
    return text.getvalue()


def drawn(folder: str) -> str:
    """The curves of the picture as JSON: by panel and label, abscissae, means and deviations."""
    lines = _lines(folder)
    poison: dict[str, list[list[float]]] = {}
    radius: dict[str, list[list[float]]] = {}
    for method in ("sgd", "dep"):
        mine = [line for line in lines if line.method == method and line.values]
        for name, end in _POISON.items():
            _add(poison, f"{method.upper()}, {name}", _by_count(mine, end))
        _add(radius, method.upper(), _by_radius(mine))
    return json.dumps(dict(zip(_PANELS, (poison, radius))))


def _lines(folder: str) -> list[Line]:
    tables = result_files.of_scale(folder, SCALE).values()
    return [
        line
        for table in tables
        for line in table.lines
        if line.dataset == DATASET and "ANN" not in line.network
    ]


def _mean(line: Line) -> str:
    spread = "" if line.deviation is None else f" +- {line.deviation:.1f}"
    return f"{line.mean:.1f}{spread}"


def _by_count(lines: Sequence[Line], end: str) -> dict[float, Line]:
    pattern = re.compile(rf"c/\+p_0, (\d+) batch(?:es)?{end}|c")
    pairs = ((pattern.fullmatch(line.condition), line) for line in lines if line.quantity == _CLEAN)
    return {float(match[1] or 0): line for match, line in pairs if match}


def _by_radius(lines: Sequence[Line]) -> dict[float, Line]:
    pairs = ((_RADIUS.fullmatch(line.quantity), line) for line in lines if line.condition == "c")
    found = {float(match[1]): line for match, line in pairs if match}
    return {radius: line for radius, line in found.items() if radius <= _LARGEST}


def _add(curves: dict[str, list[list[float]]], label: str, lines: dict[float, Line]) -> None:
    if lines:
        at = sorted(lines)
        means = [round(lines[each].mean or 0.0, 6) for each in at]
        curves[label] = [at, means, [round(lines[each].deviation or 0.0, 6) for each in at]]
