"""Excerpts of the tables within the README and the guides, and their picture, from result files.

A page holds an excerpt between two marks:

    <!-- results: methods on cifar10 -->
    <!-- end of results -->
"""

import io
import json
import re
import statistics
from collections.abc import Mapping
from collections.abc import Sequence

import matplotlib
from matplotlib.figure import Figure

from keras_dep._internal import validation
from keras_dep.evaluation.report import aligned
from keras_dep.studies import result_files
from keras_dep.studies.lines import Line
from keras_dep.studies.lines import counterpart
from keras_dep.studies.scale import COUNTERPART

# Of the data that an excerpt is about: the scale and the data set.
_DATA = {
    "digits": ("cpu", "digits"),
    "cifar10": ("cpu", "cifar10"),
    "a small subset of cifar10": ("cpu_small", "cifar10"),
}
_PICTURED = _DATA["cifar10"]
_MARKED = re.compile(r"(<!-- results: (.+?) -->\n).*?(<!-- end of results -->)", re.DOTALL)
_CLEAN = "clean accuracy (%)"
_FIGURES = {"clean": _CLEAN, "PGD-7": "PGD accuracy (%)", "worst case": "worst-case accuracy (%)"}
# Attacks on pixels, and the evaluation of the released code with its clamp alone as the control.
_PROTOCOLS = {
    "PGD-7": "PGD accuracy (%)",
    "PGD, released code": "released code's PGD accuracy (%)",
    "released clamp alone": "accuracy behind the released clamp alone (%)",
}
_POISON = {"text's attack": "", "released attack": ", poison released"}
_FIVE = "c/+p_0, 5 batches"
_RELEASED = f"{_FIVE}, poison released"
# Of each excerpt: its data, and heading, condition and quantity of each column; methods are rows.
_METHODS = {
    "methods on cifar10": (
        _DATA["cifar10"],
        [
            *((name, "c", quantity) for name, quantity in _FIGURES.items()),
            *((f"clean, poison: {name}", f"{_FIVE}{end}", _CLEAN) for name, end in _POISON.items()),
        ],
    ),
    **{
        f"{kind} on {words}": (
            data,
            [
                (f"{name}{training}", base, quantity)
                for base, training in (("c", ""), ("p", ", adversarial training"))
                for name, quantity in figures.items()
            ],
        )
        for words, data in _DATA.items()
        for kind, figures in (("robustness", _FIGURES), ("released protocol", _PROTOCOLS))
    },
}
# Of each excerpt: its data; rows are what a network is trained on, columns the methods.
_TRAINING = {f"poison on {words}": data for words, data in _DATA.items()}
_CONDITIONS = {
    "clean images": "c",
    **{
        f"{count} per epoch, {name}": f"c/+p_0, {count} batch{'es' * (count > 1)}{end}"
        for name, end in _POISON.items()
        for count in (1, 2, 5)
    },
    "5 per epoch, the released clamp alone": f"{_FIVE}, poison clamp only",
    "5 per epoch, released attack, statistics anew": f"{_RELEASED}, statistics recalibrate",
    "5 per epoch, released attack, kept out of statistics": f"{_RELEASED}, statistics frozen",
    "adversarial images": "p",
    **{
        f"adversarial images, {count} clean per epoch": f"p/+c_0, {count} batch{'es' * (count > 1)}"
        for count in (1, 2, 5)
    },
}
NAMES = (*_METHODS, *_TRAINING)
_COLOURS = {**dict(zip(_POISON, ("C0", "C1"))), "": "C2"}
_RADIUS = re.compile(r"pgd at ([\d.]+)/255: accuracy \(%\)")
_LARGEST = 16.0
# Abscissa and ordinate of each panel.
_PANELS = {
    "poisoned batches per epoch": "clean accuracy (%)",
    "radius of PGD in grey levels of 255": "accuracy (%)",
}


def lines_of(folder: str) -> dict[str, list[Line]]:
    """The lines that excerpts are made from, by scale.

    They are those with a value, without ANNs of another rate.

    Args:
        folder: holds a folder for each scale, with files `table-<name>.json`.

    Raises:
        ValueError: a file is damaged or of another schema.
    """
    usual = counterpart(COUNTERPART["learning_rate"])
    return {
        scale: [
            line
            for table in result_files.of_scale(folder, scale).values()
            for line in table.lines
            if line.values and (line.spiking or line.network.endswith(usual))
        ]
        for scale in dict.fromkeys(scale for scale, _ in _DATA.values())
    }


def renewed(page: str, lines: Mapping[str, Sequence[Line]]) -> str:
    """A page with new excerpts between its marks.

    Args:
        page: its text.
        lines: what `lines_of` gives.

    Raises:
        ValueError: the page has no marks, or names an excerpt that there is not.
    """
    if not _MARKED.search(page):
        raise ValueError(
            "a page must hold '<!-- results: NAME -->' and '<!-- end of results -->' around each "
            f"excerpt; received one without; NAME is {', '.join(NAMES)}."
        )
    return _MARKED.sub(lambda found: f"{found[1]}{excerpt(found[2], lines)}\n{found[3]}", page)


def excerpt(name: str, lines: Mapping[str, Sequence[Line]]) -> str:
    """An excerpt in Markdown: means and deviations in percent.

    Args:
        name: one of `NAMES`.
        lines: what `lines_of` gives.

    Raises:
        ValueError: there is none of that name.
    """
    validation.one_of("excerpt", name, NAMES)
    scale, dataset = _TRAINING[name] if name in _TRAINING else _METHODS[name][0]
    found = {
        (_name(line), line.condition, line.quantity): _mean(line)
        for line in lines[scale]
        if line.dataset == dataset
    }
    methods = list(dict.fromkeys(method for method, how, what in found if what == _CLEAN))
    if name in _TRAINING:
        # Rivals train without poison alone.
        methods = [each for each in methods if (each, _RELEASED, _CLEAN) in found]
        columns = methods
        rows = {
            words: [found.get((method, how, _CLEAN), "") for method in methods]
            for words, how in _CONDITIONS.items()
        }
    else:
        wanted = _METHODS[name][1]
        columns = [heading for heading, *_ in wanted]
        rows = {
            method: [found.get((method, how, what), "") for _, how, what in wanted]
            for method in methods
        }
    text = [f"| | {' | '.join(columns)} |", "|---|" + "---:|" * len(columns)]
    text += [f"| {row} | {' | '.join(cells)} |" for row, cells in rows.items() if any(cells)]
    return aligned("\n".join(text))


def picture(lines: Mapping[str, Sequence[Line]]) -> str:
    """Clean accuracy by poisoned batches, and accuracy along the radius of PGD, as SVG.

    Its description holds `curves` as JSON.

    Args:
        lines: what `lines_of` gives.
    """
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    drawn = curves(lines)
    for axes, (name, several) in zip(figure.subplots(1, len(_PANELS)), drawn.items()):
        for label, (at, means, spread) in several.items():
            style = "-" if label.startswith("DEP") else "--"
            colour = _COLOURS[label.partition(", ")[2]]
            axes.errorbar(
                at, means, spread, ls=style, marker="o", color=colour, capsize=2, label=label
            )
        axes.set(xlabel=name, ylabel=_PANELS[name], ylim=(0, None))
        axes.grid(alpha=0.25)
        if several:
            axes.legend(fontsize="small")
    text = io.StringIO()
    metadata = {"Description": json.dumps(drawn), "Date": None, "Creator": None}
    with matplotlib.rc_context({"svg.hashsalt": "keras_dep"}):
        figure.savefig(text, format="svg", metadata=metadata)
    return text.getvalue()


def curves(lines: Mapping[str, Sequence[Line]]) -> dict[str, dict[str, list[list[float]]]]:
    """The curves of the picture by panel and label: abscissae, means and deviations.

    Args:
        lines: what `lines_of` gives.
    """
    poison: dict[str, list[list[float]]] = {}
    radius: dict[str, list[list[float]]] = {}
    scale, dataset = _PICTURED
    for method in ("sgd", "dep"):
        key = dataset, method
        mine = [
            line for line in lines[scale] if (line.dataset, line.method) == key and line.spiking
        ]
        for name, end in _POISON.items():
            _add(poison, f"{method.upper()}, {name}", _by_count(mine, end))
        _add(radius, method.upper(), _by_radius(mine))
    return dict(zip(_PANELS, (poison, radius)))


def _name(line: Line) -> str:
    return f"`{line.method}`" if line.spiking else "ANN counterpart"


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


def _add(drawn: dict[str, list[list[float]]], label: str, lines: dict[float, Line]) -> None:
    if lines:
        at = sorted(lines)
        means = [round(statistics.fmean(lines[each].values), 6) for each in at]
        drawn[label] = [at, means, [round(lines[each].deviation or 0.0, 6) for each in at]]
