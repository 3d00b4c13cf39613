"""Sweeps as figures, and adversarial images beside what they were made of."""

import numpy as np

from keras_dep import durable


def draw_sweep(rows, paths, chance=None):
    """Draws accuracy with its interval along the swept quantity, one curve per attack.

    Args:
        rows: what `epsilon_sweep` or `step_sweep` returned.
        paths: files to write; their endings, for example `.png` and `.svg`, decide the format.
        chance: accuracy of guessing, drawn as a line, or `None`.
    """
    from matplotlib.figure import Figure

    axis = "epsilon" if "epsilon" in rows[0] else "steps"
    scale, label = 1, "PGD steps"
    if axis == "epsilon":
        grey = rows[0]["norm"] == "Linf"
        scale, label = (255, "epsilon (of 255 grey levels)") if grey else (1, "epsilon (length)")
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    for name in dict.fromkeys(row["attack"] for row in rows):
        curve = [row for row in rows if row["attack"] == name]
        x = [scale * row[axis] for row in curve]
        axes.plot(x, [100 * row["accuracy"] for row in curve], marker="o", label=name)
        low, high = zip(*[[100 * end for end in row["interval"]] for row in curve])
        axes.fill_between(x, low, high, alpha=0.2)
    if chance is not None:
        axes.axhline(100 * chance, color="grey", linestyle=":", label="guessing")
    axes.set_xlabel(label)
    axes.set_ylabel("accuracy (%), 95 % interval")
    axes.set_ylim(0, 100)
    axes.legend()
    for path in paths:
        with durable.whole_file(path) as unfinished:
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
