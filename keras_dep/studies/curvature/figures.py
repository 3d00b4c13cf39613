"""Curves and bars of the results of `measure`; matplotlib is imported only to draw."""

import itertools
import os
import statistics
from collections.abc import Mapping

from keras_dep._internal.types import Record
from keras_dep.curvature import Density
from keras_dep.curvature import density
from keras_dep.studies.curvature import tables
from keras_dep.studies.curvature.protocol import TRAINING

NAMES = ("epochs", "alignment", "training", "density")
# In the order of the surrogates.
STYLES = ("-", "--", ":", "-.")
VECTORS = ("gradient", "step", "removed")
LABELS = ("gradient", "DEP's step", "what DEP\nremoves")


def draw_all(measured: Mapping[str, Record], results: Mapping[str, Record], folder: str) -> None:
    """Draws every figure that has data, as PNG and SVG.

    Args:
        measured: what `measure` gave for each run, by name.
        results: their `result.json`, by name.
        folder: folder for the files, named as in `NAMES`.
    """
    for ending in ("png", "svg"):
        paths = {name: os.path.join(folder, f"{name}.{ending}") for name in NAMES}
        _epochs(measured, paths["epochs"])
        _alignment(measured, paths["alignment"])
        _training(measured, results, paths["training"])
        if all("density" in run for run in measured.values()):
            density.plot(_densities(measured), paths["density"])


def _densities(measured):
    return {
        f"{name}, {tables.surrogate_label(run, surrogate)}": Density(**found)
        for name, run in measured.items()
        for surrogate, found in run["density"].items()
    }


def _epochs(measured, path):
    """Spectral radius and share of the leading eigenvalue along the kept epochs."""
    curves = [
        (f"C{place}{style}", f"{name}, {tables.surrogate_label(run, surrogate)}", records)
        for place, (name, run) in enumerate(measured.items())
        for style, (surrogate, records) in zip(itertools.cycle(STYLES), run["epochs"].items())
        if records
    ]
    if not curves:
        return
    figure, (radius, share) = _panels(2)
    for style, label, records in curves:
        for axes, name in ((radius, "spectral_radius"), (share, "leading_share")):
            values = tables.by_epoch(records, lambda record: record[name])  # noqa: B023
            means = [statistics.fmean(batch) for batch in values.values()]
            axes.plot(list(values), means, style, marker="o", label=label)
    radius.set(xlabel="epochs completed", ylabel="spectral radius of the Hessian", yscale="log")
    share.set(xlabel="epochs completed", ylabel="its share of the leading ones' magnitudes")
    for axes in (radius, share):
        axes.xaxis.get_major_locator().set_params(integer=True)
    radius.legend(fontsize="small")
    figure.savefig(path)


def _alignment(measured, path):
    """Shares of the gradient, DEP's step and the removed component that lie in sharp directions."""
    surrogate = next(iter(next(iter(measured.values()))["spectra"]))
    found = {
        f"{name}, {tables.surrogate_label(run, surrogate)}": tables.alignments(run, surrogate)
        for name, run in measured.items()
    }
    if not all(found.values()):
        return
    figure, (energy, bend, layers) = _panels(3)
    for place, (label, batches) in enumerate(found.items()):
        for axes, pattern in ((energy, "{}_energy_in_top"), (bend, "curvature_along_{}")):
            names = [pattern.format(vector) for vector in VECTORS]
            _bars(axes, [[one[name] for one in batches] for name in names], place, found, label)
        paths = list(batches[0]["layers"])
        cosines = [[one["layers"][path]["cosine"] for one in batches] for path in paths]
        _bars(layers, cosines, place, found, label)
    chances = [batches[0]["layers"][path]["chance"] for path in paths]
    layers.scatter(range(len(paths)), chances, marker="_", s=400, color="k", label="chance")
    for axes in (energy, bend):
        axes.set_xticks(range(len(LABELS)), LABELS)
    layers.set_xticks(range(len(paths)), range(1, len(paths) + 1))
    energy.set(ylabel="share of energy in the leading eigenvectors")
    bend.set(ylabel="curvature along that direction")
    layers.set(ylabel="|cos| of removed to sharpest", xlabel="layer", yscale="log")
    # Room for the legend above the bars.
    layers.set_ylim(top=8)
    energy.legend(fontsize="small")
    layers.legend(handles=layers.collections[-1:], fontsize="small")
    figure.suptitle("clean images; bars: means over the batches, whiskers: their deviation")
    figure.savefig(path)


def _training(measured, results, path):
    """The spectral radius that the runs logged on their own batch of training images."""
    if not any(result["hessian_history"] for result in results.values()):
        return
    figure, (axes,) = _panels(1)
    for name, result in results.items():
        history = result["hessian_history"]
        radii = [record["spectral_radius"] for record in history]
        label = f"{name}, {tables.surrogate_label(measured[name], TRAINING)}"
        axes.plot([record["iteration"] for record in history], radii, marker="o", label=label)
    axes.set(xlabel="training step", ylabel="spectral radius of the Hessian", yscale="log")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend()
    figure.savefig(path)


def _panels(count):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2 + 4 * count, 4), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(1, count, squeeze=False)[0]


def _bars(axes, groups, place, runs, label):
    """Draws one run's bar in every group."""
    width = 0.8 / len(runs)
    figures = [tables.summary(values) for values in groups]
    axes.bar(
        [index - 0.4 + width * (place + 0.5) for index in range(len(groups))],
        [figure["mean"] for figure in figures],
        width,
        yerr=[figure["deviation"] for figure in figures],
        label=label,
    )
