"""Draws a result card: one page, portrait, for a review."""

import os
import textwrap
from typing import Any

from keras_dep._internal import atomic_io
from keras_dep._internal.types import Record
from keras_dep.evaluation import plots
from keras_dep.evaluation import report

# A4, in inches, at 150 dots per inch.
PAGE, DOTS = (8.27, 11.69), 150
LEFT, RIGHT, MIDDLE = 0.07, 0.95, 0.53
INK, PALE, LINE = "#1f2430", "#6b7280", "#d8dce3"
KINDS = {"clean": "#9aa5b4", "attack": "#5c6bc0", "reported": "#d9a441", "worst": "#b3261e"}
# Background and text of the statement whether the suite was complete.
COMPLETE, INCOMPLETE, OTHER = ("#e3f2e6", "#1b5e20"), ("#fde7e4", "#8c1d18"), ("#fff4da", "#6d4c00")
VERDICTS = {
    "passed": ("\N{CHECK MARK}", "#2e7d32"),
    "failed": ("\N{BALLOT X}", "#b3261e"),
    "left out": ("!", "#b26a00"),
    "not applicable": ("\N{EN DASH}", PALE),
}
# Of the curves over radii.
CURVES = ("#5c6bc0", "#26a69a", "#8d6e63", "#ab47bc", "#78909c")
# Attacks that have a bar, and lines of the protocol that fit the page.
MOST_ATTACKS, MOST_LINES = 6, 17
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": PALE,
    "xtick.color": PALE,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def draw(found: Record, path: str | os.PathLike[str]) -> None:
    """Draws what `card.contents` returned into a file, such as `card.png`."""
    with atomic_io.whole_file(path) as unfinished:
        page(found).savefig(unfinished, dpi=DOTS)


def page(found: Record) -> Any:
    """Returns the figure of matplotlib that `draw` saves."""
    import matplotlib
    from matplotlib import rcsetup
    from matplotlib.figure import Figure

    style: Any = {**STYLE, "axes.prop_cycle": rcsetup.cycler("color", CURVES)}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=PAGE, dpi=DOTS, facecolor="white")
        _headline(figure, found)
        _status(figure, found)
        _bars(figure.add_axes((LEFT + 0.13, 0.585, 0.25, 0.135)), figure, found)
        _curve(figure.add_axes((MIDDLE + 0.06, 0.585, 0.36, 0.135)), figure, found)
        _strongest(figure.add_axes((LEFT + 0.17, 0.365, 0.21, 0.135)), figure, found)
        _checks(figure, found)
        _protocol(figure, found)
    return figure


def _headline(figure: Any, found: Record) -> None:
    headline = found["headline"]
    figure.text(LEFT, 0.955, "ROBUSTNESS CARD", color=PALE, size=8, weight="bold")
    name = textwrap.shorten(found["title"], 60, placeholder=" ...")
    figure.text(LEFT, 0.928, name, size=17, weight="bold")
    figure.text(LEFT, 0.862, report.percent(headline), size=44, weight="bold", color=KINDS["worst"])
    lines = (
        f"of {headline['images']:,} images withstand all {found['attacks']} attacks",
        f"95 % interval {report.interval(headline)}",
        found["ball"],
    )
    for place, line in enumerate(lines):
        figure.text(MIDDLE - 0.02, 0.894 - 0.018 * place, line, size=10.5)


def _status(figure: Any, found: Record) -> None:
    """Writes in a box whether the suite was complete, and which attacks were left out."""
    from matplotlib.patches import FancyBboxPatch

    fill, ink = COMPLETE if found["reliable"] else INCOMPLETE if found["left_out"] else OTHER
    status = textwrap.wrap(_shortened(f"{found['status']}.", 300), 100)
    names = ", ".join(name for each in found["left_out"] for name in each["attacks"])
    left_out = textwrap.wrap(_shortened(f"Left out: {names}.", 480), 128) if names else []
    top, step, small = 0.838, 0.0155, 0.0125
    height = step * len(status) + small * len(left_out) + 0.008
    box = FancyBboxPatch(
        (LEFT + 0.004, top - height),
        RIGHT - LEFT - 0.008,
        height,
        boxstyle="round,pad=0.004",
        facecolor=fill,
        edgecolor="none",
        transform=figure.transFigure,
    )
    figure.add_artist(box)
    for line in status:
        top -= step
        figure.text(LEFT + 0.012, top, line, size=9, weight="bold", color=ink)
    for line in left_out:
        top -= small
        figure.text(LEFT + 0.012, top - 0.001, line, size=7, color=ink)


def _bars(axes: Any, figure: Any, found: Record) -> None:
    _heading(figure, LEFT, 0.735, "Images that withstand, with 95 % interval")
    bars = found["bars"]
    places = range(len(bars))
    for place, bar in zip(places, bars):
        value = 100 * bar["accuracy"]
        low, high = (100 * end for end in bar["interval"])
        error = [[max(value - low, 0)], [max(high - value, 0)]]
        axes.barh(place, value, height=0.62, color=KINDS[bar["kind"]])
        axes.errorbar(value, place, xerr=error, color=INK, elinewidth=0.8, capsize=2)
        axes.text(max(high, value) + 3, place, f"{value:.1f} %", va="center", size=7.5)
    labels = [textwrap.fill(bar["name"], 18) for bar in bars]
    axes.set_yticks(places, labels, size=7.5 if len(bars) < 7 else 6.5)
    axes.set(xlim=(0, 122), ylim=(len(bars) - 0.5, -0.5))
    axes.set_xticks(range(0, 101, 25), [f"{tick} %" for tick in range(0, 101, 25)], size=7)
    axes.tick_params(axis="y", length=0)
    if any(bar["kind"] == "reported" for bar in bars):
        axes.set_xlabel("yellow: measured elsewhere", size=7)


def _curve(axes: Any, figure: Any, found: Record) -> None:
    _heading(figure, MIDDLE, 0.735, "Accuracy over the radius")
    if not found["points"]:
        _empty(axes, "No sweep over radii was given.")
        return
    plots.draw_curves(axes, found["points"], found["chance"])
    if found["epsilon"] is not None:
        scale = report.swept(found["points"])[1]
        headline = found["headline"]
        value, (low, high) = headline["accuracy"], headline["interval"]
        axes.errorbar(
            scale * found["epsilon"],
            100 * value,
            [[100 * max(value - low, 0)], [100 * max(high - value, 0)]],
            marker="D",
            color=KINDS["worst"],
            capsize=3,
            linestyle="none",
            zorder=5,
            label="all attacks",
        )
    axes.set_ylabel("accuracy (%)")
    axes.tick_params(labelsize=7)
    axes.legend(fontsize=6.5, frameon=False, loc="best")


def _strongest(axes: Any, figure: Any, found: Record) -> None:
    _heading(figure, LEFT, 0.515, "Images broken by each attack")
    shown = [each for each in found["strongest"][:MOST_ATTACKS] if each["broken"]]
    if not shown:
        _empty(axes, "No attack broke an image.")
        return
    most = shown[0]["broken"]
    for place, each in enumerate(shown):
        axes.barh(place, each["broken"], height=0.62, color=KINDS["attack"])
        text = f"{each['broken']} of {each['attacked']}"
        axes.text(each["broken"] + 0.03 * most, place, text, va="center", size=7.5)
    axes.set_yticks(range(len(shown)), [each["attack"] for each in shown], size=7.5)
    axes.set(xlim=(0, 1.45 * most), ylim=(MOST_ATTACKS - 0.5, -0.5), xticks=[])
    axes.spines[["bottom", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    note = "Each attack saw the images that those before it left." if found["early_exit"] else ""
    remarks = textwrap.fill(" ".join([*found["remarks"], note]), 66)
    figure.text(LEFT, 0.352, remarks, size=7, color=PALE, va="top", linespacing=1.4)


def _checks(figure: Any, found: Record) -> None:
    _heading(figure, MIDDLE, 0.515, "Checks for obfuscated gradients")
    if found["checks"]:
        figure.text(MIDDLE, 0.5025, found["count"], size=7.5, color=PALE)
    else:
        figure.text(MIDDLE, 0.49, "The checklist was not run.", color=PALE)
    for place, each in enumerate(found["checks"]):
        mark, color = VERDICTS[each["verdict"]]
        height = 0.486 - 0.0119 * place
        figure.text(MIDDLE + 0.006, height, mark, color=color, ha="center", size=8, weight="bold")
        number = str(each["number"])
        figure.text(MIDDLE + 0.036, height, number, size=7.5, color=PALE, ha="right")
        figure.text(MIDDLE + 0.046, height, each["name"], size=7.5)


def _protocol(figure: Any, found: Record) -> None:
    _heading(figure, LEFT, 0.285, "Protocol")
    lines = [
        (name if place == 0 else "", line)
        for name, value in found["protocol"].items()
        for place, line in enumerate(textwrap.wrap(_shortened(value, 330), 112))
    ]
    for place, (name, line) in enumerate(lines[:MOST_LINES]):
        height = 0.268 - 0.0135 * place
        figure.text(LEFT, height, name, size=7.5, color=PALE)
        figure.text(LEFT + 0.13, height, line, size=7.5)
    figure.text(
        LEFT,
        0.02,
        "Images that are wrong without an attack count as errors. An attack that is not in the "
        "suite may break more.",
        size=7,
        color=PALE,
    )


def _heading(figure: Any, x: float, y: float, text: str) -> None:
    figure.text(x, y, text, size=9, weight="bold", va="bottom")


def _empty(axes: Any, text: str) -> None:
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, ha="center", va="center", color=PALE, transform=axes.transAxes)


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 4]} ..."
