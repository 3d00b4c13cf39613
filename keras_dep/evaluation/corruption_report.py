"""The table and the figure of an evaluation on corrupted images."""

import itertools
import os
from collections.abc import Iterable

import numpy as np

from keras_dep._internal import atomic_io
from keras_dep._internal.types import Record
from keras_dep.evaluation import report
from keras_dep.evaluation.corruptions import errors_by_corruption
from keras_dep.evaluation.corruptions import mean_corruption_error

MARKS = "osD^vPX*"


def corruptions_markdown(
    record: Record, baseline: Record | None = None, baseline_name: str | None = None
) -> str:
    """Returns accuracies by corruption and severity as a Markdown table, with the mean error.

    Args:
        record: result of `evaluate_corruptions`.
        baseline: the result of another model, or `None`.
        baseline_name: its name, for the text.

    Returns:
        Markdown text; accuracies in percent, with the mean corruption error below.

    Example:

    >>> point = {"corruption": "fog", "severity": 2, "accuracy": 0.7, "non_finite_answers": 0}
    >>> clean = {"accuracy": 0.9, "interval": [0.88, 0.92], "images": 500}
    >>> clean["non_finite_answers"] = 0
    >>> print(corruptions_markdown({"points": [point], "clean": clean, "protocol": {}}))
    | corruption (accuracy) | severity 2 |    mean |
    | --------------------- | ---------: | ------: |
    | fog                   |    70.00 % | 70.00 % |
    | **mean**              |    70.00 % | 70.00 % |
    <BLANKLINE>
    Accuracy on 500 images each; clean 90.00 % (88.0 to 92.0).
    Mean corruption error, not normalised by a baseline: 30.00 %.
    <BLANKLINE>
    """
    errors = errors_by_corruption(record["points"])
    severities = sorted({severity for each in errors.values() for severity in each})
    heads = ["corruption (accuracy)", *(f"severity {each}" for each in severities), "mean"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for corruption, each in errors.items():
        cells = [_percent(1 - each[s]) if s in each else "" for s in severities]
        mean = _percent(1 - np.mean(list(each.values())))
        lines.append(f"| {' | '.join([corruption, *cells, mean])} |")
    columns = [[each[s] for each in errors.values() if s in each] for s in severities]
    means = [_percent(1 - np.mean(column)) for column in columns]
    error = mean_corruption_error(record["points"])
    lines.append(f"| {' | '.join(['**mean**', *means, _percent(1 - error)])} |")
    clean = record["clean"]
    low, high = clean["interval"]
    lines += [
        "",
        f"Accuracy on {clean['images']} images each; clean {_percent(clean['accuracy'])} "
        f"({100 * low:.1f} to {100 * high:.1f}).",
        f"Mean corruption error, not normalised by a baseline: {_percent(error)}.",
    ]
    if baseline is not None:
        share = mean_corruption_error(record["points"], baseline["points"])
        lines.append(
            f"Mean corruption error normalised by the errors of {baseline_name or 'the baseline'}: "
            f"{_percent(share)} (100 % is as many errors as it makes)."
        )
    measured = [("clean", clean), *((_name(each), each) for each in record["points"])]
    bad = [f"{name} {each['non_finite_answers']}" for name, each in measured if _non_finite(each)]
    if bad:
        lines.append(f"Answers that are not finite, which are errors: {', '.join(bad)}.")
    if record["protocol"]:
        lines += ["", "| protocol | |", "|---|---|"]
        lines += [f"| {name} | {_brief(value)} |" for name, value in record["protocol"].items()]
    return report.aligned("\n".join(lines) + "\n")


def draw_corruptions(
    record: Record, paths: Iterable[str | os.PathLike[str]], title: str | None = None
) -> None:
    """Draws accuracy along the severity, a curve per corruption and a thick one for their mean.

    Args:
        record: result of `evaluate_corruptions`; the clean accuracy is drawn at severity 0.
        paths: files to write; their endings, for example `.png` and `.svg`, decide the format.
        title: the title, or `None`.

    Example:

    >>> import tempfile
    >>> path = tempfile.mkdtemp() + "/corruptions.svg"
    >>> point = {"corruption": "fog", "severity": 2, "accuracy": 0.7}
    >>> draw_corruptions({"points": [point], "clean": {"accuracy": 0.9}}, [path])
    >>> os.path.exists(path)
    True
    """
    from matplotlib.figure import Figure

    errors = errors_by_corruption(record["points"])
    severities = sorted({severity for each in errors.values() for severity in each})
    clean = 100 * record["clean"]["accuracy"]
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for (corruption, each), mark in zip(errors.items(), itertools.cycle(MARKS)):
        places = [0, *sorted(each)]
        values = [clean, *(100 * (1 - each[place]) for place in places[1:])]
        axes.plot(places, values, marker=mark, markersize=4, linewidth=1, label=corruption)
    columns = [[each[s] for each in errors.values() if s in each] for s in severities]
    means = [clean, *(100 * (1 - np.mean(column)) for column in columns)]
    axes.plot([0, *severities], means, color="black", linewidth=3, label="mean")
    axes.set_xticks([0, *severities], ["clean", *map(str, severities)])
    axes.set(xlabel="severity", ylabel="accuracy (%)", ylim=(-2, 102), title=title)
    axes.grid(alpha=0.25)
    figure.legend(loc="outside right upper", fontsize="small")
    for path in paths:
        with atomic_io.whole_file(path) as unfinished:
            figure.savefig(unfinished, dpi=150)


def _name(point):
    return f"{point['corruption']} {point['severity']}"


def _non_finite(measured):
    return measured["non_finite_answers"]


def _percent(share):
    return f"{100 * share:.2f} %"


def _brief(value):
    if isinstance(value, dict):
        return ", ".join(f"{name} {each}" for name, each in value.items())
    if isinstance(value, list):
        return "; ".join(map(str, map(_brief, value))) or "none"
    return value
