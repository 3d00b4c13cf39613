"""Draws sweeps, and arranges adversarial images beside their originals."""

import itertools
import os
from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_dep._internal import atomic_io
from keras_dep._internal.types import Array
from keras_dep._internal.types import Record
from keras_dep.evaluation import report

MARKS = "osD^vPX*"
# Most points that are all labelled on the axis.
MOST_TICKS = 12
# Factor by which the axis of radii extends beyond its points.
FREE = 1.15


def draw_sweep(
    points: Sequence[Record],
    paths: Iterable[str | os.PathLike[str]],
    chance: float | None = None,
    name: str | None = None,
) -> None:
    """Draws accuracy with its interval along the swept quantity, one curve per attack.

    The axis of radii is logarithmic, except from 0 to the smallest other radius.

    Args:
        points: result of `epsilon_sweep` or `step_sweep`.
        paths: files to write; their endings, for example `.png` and `.svg`, decide the format.
        chance: accuracy of guessing, drawn as a line, or `None`.
        name: the model's name, for the title, or `None`.

    Example:

    >>> import tempfile
    >>> path = tempfile.mkdtemp() + "/sweep.svg"
    >>> point = {"attack": "pgd", "norm": "Linf", "accuracy": 0.5, "interval": [0.4, 0.6]}
    >>> draw_sweep([{**point, "epsilon": level / 255} for level in (0, 8)], [path])
    >>> os.path.exists(path)
    True
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    draw_curves(axes, points, chance)
    axes.set_title(name or "")
    figure.legend(loc="outside right upper", fontsize="small")
    for path in paths:
        with atomic_io.whole_file(path) as unfinished:
            figure.savefig(unfinished, dpi=150)


def draw_curves(axes: Any, points: Sequence[Record], chance: float | None = None) -> None:
    """Draws the curves of `draw_sweep` into the axes of a figure of matplotlib."""
    axis, scale, label = report.swept(points)
    for attack, mark in zip(
        dict.fromkeys(point["attack"] for point in points), itertools.cycle(MARKS)
    ):
        curve = [point for point in points if point["attack"] == attack]
        accuracies = np.array([point["accuracy"] for point in curve])
        low, high = np.transpose([point["interval"] for point in curve])
        axes.errorbar(
            [scale * point[axis] for point in curve],
            100 * accuracies,
            100 * np.maximum([accuracies - low, high - accuracies], 0),
            marker=mark,
            markersize=5,
            elinewidth=1,
            capsize=2,
            label=attack,
        )
    if chance is not None:
        axes.axhline(100 * chance, color="grey", linestyle=":", label="guessing")
    # Room for the markers at 0 and 100 %.
    axes.set(xlabel=label, ylabel="accuracy (%), 95 % interval", ylim=(-2, 102))
    axes.grid(alpha=0.25)
    places = sorted({scale * point[axis] for point in points})
    if axis == "epsilon" and places[-1] > 0:
        least = next(place for place in places if place)
        axes.set_xscale("symlog", base=2, linthresh=least)
        axes.set_xlim(places[0] / FREE - 0.1 * least * (not places[0]), places[-1] * FREE)
    if len(places) <= MOST_TICKS:
        labels = [f"{place:.3g}" for place in places]
        axes.set_xticks(places, labels, fontsize="small", rotation=45)
        axes.minorticks_off()
    else:
        axes.xaxis.set_major_formatter("{x:g}")


def side_by_side(images: Array, crafted: Array, epsilon: float) -> Array:
    """Stacks each clean image, its adversarial image and their difference.

    Args:
        images: float array `(n, height, width, channels)` in [0, 1].
        crafted: the adversarial images.
        epsilon: radius of the ball, which scales the difference; no change is grey.

    Returns:
        float array `(3 n, height, width, channels)` in [0, 1].

    Example:

    >>> triple = side_by_side(np.full((1, 1, 1, 1), 0.5), np.full((1, 1, 1, 1), 0.6), 0.1)
    >>> triple.ravel().round(3).tolist()
    [0.5, 0.6, 1.0]
    """
    difference = 0.5 + (crafted - images) / (2 * max(epsilon, 1e-8))
    triples = np.stack([images, crafted, np.clip(difference, 0, 1)], axis=1)
    return triples.reshape(-1, *images.shape[1:])
