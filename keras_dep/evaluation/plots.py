"""Sweeps as figures, and adversarial images beside what they were made of."""

import itertools

import numpy as np

from keras_dep._internal import atomic_io
from keras_dep.evaluation import report

MARKS = "osD^vPX*"
# More points than that do not all get a label on the axis.
MOST_TICKS = 12
# Factor of the axis of radii left free at its ends.
FREE = 1.15


def draw_sweep(rows, paths, chance=None, name=None):
    """Draws accuracy with its interval along the swept quantity, one curve per attack.

    Radii stand on a logarithmic axis, but for the part from 0 to the least other radius.

    Args:
        rows: what `epsilon_sweep` or `step_sweep` returned.
        paths: files to write; their endings, for example `.png` and `.svg`, decide the format.
        chance: accuracy of guessing, drawn as a line, or `None`.
        name: the model's name, for the title, or `None`.
    """
    from matplotlib.figure import Figure

    axis, scale, label = report.swept(rows)
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for attack, mark in zip(dict.fromkeys(row["attack"] for row in rows), itertools.cycle(MARKS)):
        curve = [row for row in rows if row["attack"] == attack]
        accuracies = np.array([row["accuracy"] for row in curve])
        low, high = np.transpose([row["interval"] for row in curve])
        axes.errorbar(
            [scale * row[axis] for row in curve],
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
    # The marks of 0 and 100 % whole.
    axes.set(xlabel=label, ylabel="accuracy (%), 95 % interval", ylim=(-2, 102), title=name)
    axes.grid(alpha=0.25)
    points = sorted({scale * row[axis] for row in rows})
    if axis == "epsilon" and points[-1] > 0:
        least = next(point for point in points if point)
        axes.set_xscale("symlog", base=2, linthresh=least)
        axes.set_xlim(points[0] / FREE - 0.1 * least * (not points[0]), points[-1] * FREE)
    if len(points) <= MOST_TICKS:
        axes.set_xticks(points, [f"{point:.3g}" for point in points], fontsize="small", rotation=45)
        axes.minorticks_off()
    else:
        axes.xaxis.set_major_formatter("{x:g}")
    figure.legend(loc="outside right upper", fontsize="small")
    for path in paths:
        with atomic_io.whole_file(path) as unfinished:
            figure.savefig(unfinished, dpi=150)


def side_by_side(images, crafted, epsilon):
    """Clean image, adversarial image and their difference, in turn for each image.

    Args:
        images: float array `(n, height, width, channels)` in [0, 1].
        crafted: the adversarial images.
        epsilon: radius of the ball, which the difference is scaled to: no change is grey.

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
