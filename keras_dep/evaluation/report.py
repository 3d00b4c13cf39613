"""Formats results as tables: Markdown for readers, CSV for programs."""

import csv
import io
import itertools
import re
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from keras_dep._internal.types import Record

# Longest cell, in characters, that widens its column.
WIDEST = 48
NUMBER = re.compile(r"(\*\*)?[-+]?\d")


def markdown(record: Record) -> str:
    """Returns the result of `evaluate` as a Markdown table, followed by its protocol.

    Args:
        record: result of `evaluate`.

    Returns:
        Markdown text.
    """
    worst, clean = record["worst_case"], record["clean"]
    lines = [
        "| attack | accuracy | 95 % interval | broken of attacked | standing behind it |",
        "|---|---|---|---|---|",
        f"| none | {percent(clean)} | {interval(clean)} | | {clean['correct']} |",
    ]
    for result in record["attacks"]:
        attack, broken = result["attack"], f"{result['broken']} of {result['attacked']}"
        name = attack if result["counts"] else f"{attack} (does not count)"
        lines.append(
            f"| {name} | {percent(result)} | {interval(result)} | {broken} | {result['standing']} |"
        )
    caution = " (not called reliable)" if record["left_out"] else ""
    lines.append(
        f"| **worst case per image**{caution} | **{percent(worst)}** | {interval(worst)} | | "
        f"{worst['correct']} |"
    )
    answers = [("none", clean), *((each["attack"], each) for each in record["attacks"])]
    non_finite = {name: each["non_finite_answers"] for name, each in answers}
    health = record["gradients"]
    lines += [
        "",
        f"Of {clean['images']} images. An attack that ran only on images left by others has no "
        "accuracy of its own.",
        f"Input gradient: {100 * health['zero_pixels']:.2f} % of its entries are zero, "
        f"{100 * health['zero_images']:.2f} % of the images have no other, and "
        f"{health['non_finite_images']} have one that is not finite.",
        *_remarks(record, {name: count for name, count in non_finite.items() if count}),
        "",
        "| protocol | |",
        "|---|---|",
    ]
    for name, value in record["protocol"].items():
        if name == "attacks":
            continue
        if name == "neurons":
            value = "; ".join(", ".join(f"{k} {v}" for k, v in kind.items()) for kind in value)
        elif isinstance(value, list):
            value = ", ".join(map(str, value)) or "none"
        lines.append(f"| {name} | {_brief(value)} |")
    lines += ["", "| attack | settings |", "|---|---|"]
    for name, config in record["protocol"]["attacks"].items():
        settings = ", ".join(f"{k} {_brief(v)}" for k, v in config.items() if v is not None)
        lines.append(f"| {name} | {settings} |")
    return aligned("\n".join(lines) + "\n")


def _remarks(record: Record, non_finite: Mapping[str, int]) -> list[str]:
    """Returns lines about the limits of the results."""
    health = record["gradients"]
    lines = []
    if health.get("zero_pixels_in_float32") is not None:
        lines.append(
            f"The model computes in half precision; of a float32 copy's input gradient "
            f"{100 * health['zero_pixels_in_float32']:.2f} % of the entries are zero, and "
            f"{100 * health['zero_images_in_float32']:.2f} % of the images have no other."
        )
    if non_finite:
        found = ", ".join(f"{name} {count}" for name, count in non_finite.items())
        lines.append(f"Answers that are not finite, which are errors, per attack: {found}.")
    for each in record["left_out"]:
        names = ", ".join(each["attacks"])
        lines.append(f"**Not called reliable**: {each['reason']}. Left out: {names}.")
    return lines


def released_markdown(results: Sequence[Record]) -> str:
    """Returns the results of `released_protocol` as a Markdown table, changes in grey levels."""
    lines = [
        "| protocol | attack | accuracy | 95 % interval | mean change | largest change |",
        "|---|---|---|---|---|---|",
    ]
    for result in results:
        mean, largest = (255 * result[name] for name in ("mean_change", "largest_change"))
        lines.append(
            f"| {result['protocol']} | {result['attack']} | {percent(result)} | "
            f"{interval(result)} | {mean:.2f} | {largest:.2f} |"
        )
    return aligned("\n".join(lines) + "\n")


def sweep_markdown(points: Sequence[Record]) -> str:
    """Returns a sweep as a Markdown table: a line per value, a column per attack.

    Args:
        points: result of `epsilon_sweep` or `step_sweep`.

    Returns:
        Markdown text; accuracies in percent with their 95 % intervals, rounded.

    Example:

    >>> point = {"attack": "pgd", "norm": "Linf", "epsilon": 8 / 255, "accuracy": 0.5}
    >>> point |= {"images": 18, "interval": [0.4, 0.6], "non_finite_answers": 0}
    >>> print(sweep_markdown([point]))
    | epsilon (of 255 grey levels) |                    pgd |
    | ---------------------------: | ---------------------: |
    |                            8 | 50.00 % (40.0 to 60.0) |
    <BLANKLINE>
    Accuracy (95 % interval) on 18 images.
    <BLANKLINE>
    """
    axis, scale, label = swept(points)
    names = list(dict.fromkeys(point["attack"] for point in points))
    by_place: dict[float, Record] = {}
    for point in points:
        by_place.setdefault(point[axis], {})[point["attack"]] = point
    lines = [_line([label, *names]), "|---" * (len(names) + 1) + "|"]
    for place, found in by_place.items():
        cells = [_percent_within(found[name]) if name in found else "" for name in names]
        lines.append(_line([f"{scale * place:.4g}", *cells]))
    lines += ["", f"Accuracy (95 % interval) on {points[0]['images']} images."]
    if counts := [
        f"{point['attack']} at {scale * point[axis]:.4g}: {point['non_finite_answers']}"
        for point in points
        if point["non_finite_answers"]
    ]:
        lines.append(f"Answers that are not finite, which are errors: {', '.join(counts)}.")
    return aligned("\n".join(lines) + "\n")


def swept(points: Sequence[Record]) -> tuple[str, int, str]:
    """Returns the swept key of a sweep, the factor to its usual unit, and a label."""
    if "steps" in points[0]:
        return "steps", 1, "PGD steps"
    if points[0]["norm"] == "Linf":
        return "epsilon", 255, "epsilon (of 255 grey levels)"
    return "epsilon", 1, "epsilon (length)"


def aligned(text: str) -> str:
    r"""Pads the Markdown tables of a text to columns of equal width, numbers to the right.

    A cell of more than 48 characters does not widen its column.

    Example:

    >>> print(aligned("| attack | % |\n|---|---|\n| fgsm | 5 |\n| pgd-7 | 12 |"))
    | attack |  % |
    | ------ | -: |
    | fgsm   |  5 |
    | pgd-7  | 12 |
    """
    lines: list[str] = []
    for is_table, group in itertools.groupby(text.split("\n"), lambda line: line.startswith("|")):
        found = list(group)
        lines += _aligned(found) if is_table else found
    return "\n".join(lines)


def table(records: Sequence[Record]) -> str:
    """Returns dictionaries with the same keys as CSV; an interval becomes two columns.

    Example:

    >>> table([{"attack": "fgsm", "accuracy": 0.5, "interval": [0.4, 0.6]}]).splitlines()
    ['attack,accuracy,low,high', 'fgsm,0.5,0.4,0.6']
    """
    flat = []
    for record in records:
        record = dict(record)
        if "interval" in record:
            record["low"], record["high"] = record.pop("interval") or (None, None)
        flat.append(record)
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(flat[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return text.getvalue()


def percent(result: Record) -> str:
    """Returns the accuracy of a result in percent, empty where it is not known."""
    return "" if result["accuracy"] is None else f"{100 * result['accuracy']:.2f} %"


def interval(result: Record) -> str:
    """Returns the interval of a result in percent, empty where it is not known."""
    if result["interval"] is None:
        return ""
    low, high = result["interval"]
    return f"{100 * low:.2f} to {100 * high:.2f} %"


def _aligned(lines: Sequence[str]) -> list[str]:
    """Aligns the lines of one table, the second of which separates its head."""
    head, _, *body = [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]
    widths, numeric = [], []
    for column in zip(head, *body):
        widths.append(max([2, *(len(cell) for cell in column if len(cell) <= WIDEST)]))
        filled = [cell for cell in column[1:] if cell]
        numeric.append(bool(filled) and all(map(NUMBER.match, filled)))
    rule = [
        "-" * (width - right) + ":" * right for width, right in zip(widths, numeric, strict=True)
    ]
    return [
        _line(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(cells, widths, numeric, strict=True)
        )
        for cells in (head, rule, *body)
    ]


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _percent_within(result: Record) -> str:
    low, high = result["interval"]
    return f"{percent(result)} ({100 * low:.1f} to {100 * high:.1f})"


def _brief(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value
