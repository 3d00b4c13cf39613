"""The curvature of finished hetero-training runs on clean and attacked images, side by side."""

import dataclasses
import json
import math
import os
import statistics

import keras
import numpy as np

from keras_dep import alignment
from keras_dep import attacks
from keras_dep import experiment
from keras_dep import spectrum
from keras_dep import surrogates
from keras_dep.curvature import Hessian
from keras_dep.losses import MeanLogitCrossentropy
from keras_dep.optimizers import DEP
from keras_dep.settings import Settings
from keras_dep.substitution import with_dtype
from keras_dep.substitution import with_surrogate

KINDS = ("clean", "fgsm", "pgd")
METHODS = ("lanczos", "power")
TRAINING = "training"
# Of each batch, what the tables show.
FIGURES = ("spectral_radius", "printed_ratio", "leading_share", "largest", "smallest", "residual")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Protocol:
    """What is measured of every run, on the same test images with the same start vectors.

    Args:
        batches: batches of test images, from the first on.
        batch_size: images per batch.
        together: images looked at together; `None`: all of a batch.
        kinds: some of `KINDS`.
        surrogates: surrogates under which curvature is taken: `"training"` for the run's own, or
            names of `keras_dep.surrogates`.
        method: `"lanczos"`, or `"power"` for PyHessian's iteration with its usual limits.
        count: eigenvalues.
        tolerance: residual for `"lanczos"`, relative to the spectral radius.
        max_steps: limit of products of one spectrum by `"lanczos"`.
        density_vectors: random vectors for the spectral density of the first clean batch; 0: none.
        trace_products: products for the trace on the first clean batch; 0: none.

    Raises:
        ValueError: an unknown name, or a number outside its limits.
    """

    batches: int = 20
    batch_size: int = 128
    together: int | None = None
    kinds: tuple = KINDS
    surrogates: tuple = (TRAINING, "arctan")
    method: str = "lanczos"
    count: int = 5
    tolerance: float = 1e-2
    max_steps: int = 80
    density_vectors: int = 1
    trace_products: int = 15

    def __post_init__(self):
        for name in ("batches", "batch_size", "count", "max_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1; received {getattr(self, name)}.")
        if self.method not in METHODS:
            raise ValueError(
                f"method must be one of {', '.join(METHODS)}; received {self.method!r}."
            )
        for name, known in (("kinds", KINDS), ("surrogates", (TRAINING, *surrogates.names()))):
            given = getattr(self, name)
            if not given or set(given) - set(known):
                raise ValueError(
                    f"{name} must be among {', '.join(known)}; received {', '.join(given)!r}."
                )


class Run:
    """A finished run: what its folder holds.

    Args:
        folder: where `keras_dep.experiment.run` left `result.json` and `model.keras`.

    Attributes:
        settings: the run's `keras_dep.settings.Settings`.
        result: the dictionary of `result.json`.
        model: the trained network, in single precision.

    Raises:
        ValueError: the folder does not hold a finished run.
    """

    def __init__(self, folder):
        path = os.path.join(folder, "result.json")
        try:
            with open(path) as file:
                self.result = json.load(file)
            found = self.result["settings"]
            known = {field.name for field in dataclasses.fields(Settings)} & set(found)
            self.settings = Settings(**{name: found[name] for name in known})
            model = keras.saving.load_model(os.path.join(folder, "model.keras"), compile=False)
        except (OSError, KeyError, json.JSONDecodeError) as error:
            raise ValueError(
                f"{folder!r} must hold the result.json and model.keras of a finished run "
                f"({error}); train one with apps/hetero_train.py."
            ) from error
        self.model = model if self.settings.precision == "float32" else with_dtype(model, "float32")


def load_images(run, protocol, data_dir=None):
    """The first test images of a run's data set and their labels, as the protocol needs them."""
    settings = dataclasses.replace(
        run.settings,
        data_dir=data_dir,
        train_examples=1,
        test_examples=protocol.batches * protocol.batch_size,
    )
    data = experiment.load_data(settings)
    return data.x_test.astype("float32") / np.float32(255), data.y_test


def measure(run, images, labels, protocol, writer=None, report=lambda line: None):
    """Everything the protocol asks of one run.

    Args:
        run: a `Run`.
        images: float32 array in [0, 1].
        labels: integer array.
        protocol: a `Protocol`.
        writer: a `keras_dep.summaries.EventWriter`, or `None`.
        report: called with a line of progress after each spectrum.

    Returns:
        A dictionary that JSON can hold: `spectra[surrogate][kind]`, a list with a record per batch,
        `alignment`, a list with a record per clean batch, `trace`, and `density`.
    """
    hessians = {
        name: Hessian(_seen_under(run.model, name), MeanLogitCrossentropy())
        for name in protocol.surrogates
    }
    first = next(iter(hessians.values()))
    found = {
        "spectra": {name: {kind: [] for kind in protocol.kinds} for name in hessians},
        "alignment": [],
    }
    for index in range(protocol.batches):
        part = slice(index * protocol.batch_size, (index + 1) * protocol.batch_size)
        y = labels[part]
        for kind in protocol.kinds:
            x = _craft(run, kind, images[part], y, index)
            for name, hessian in hessians.items():
                aligned = kind == "clean" and hessian is first and protocol.method == "lanczos"
                record, values = _spectrum(hessian, x, y, protocol, vectors=aligned)
                found["spectra"][name][kind].append(record)
                report(
                    f"batch {index + 1}/{protocol.batches}, {kind}, {name}: spectral radius "
                    f"{record['spectral_radius']:.4g} +- {record['residual']:.2g}, "
                    f"{record['products']} products"
                )
                if writer is not None:
                    for figure in FIGURES:
                        tag = f"curvature_{kind}/{name}/{figure}"
                        writer.scalar(tag, record[figure], index)
                if aligned:
                    optimizer = DEP("sgd", rank_one=run.settings.rank_one)
                    aligned = alignment.measure(hessian, x, y, values, optimizer, protocol.together)
                    found["alignment"].append(dataclasses.asdict(aligned))
    x, y = images[: protocol.batch_size], labels[: protocol.batch_size]
    product = first.at(x, y, protocol.together)
    if protocol.trace_products:
        trace = spectrum.hutch_plus_plus(product, first.dimension, protocol.trace_products)
        found["trace"] = dataclasses.asdict(trace)
    if protocol.density_vectors:
        density = spectrum.spectral_density(product, first.dimension, protocol.density_vectors)
        found["density"] = {
            "nodes": [nodes.tolist() for nodes in density.nodes],
            "weights": [weights.tolist() for weights in density.weights],
            "dimension": density.dimension,
        }
    return found


def summary(values):
    """Mean, deviation of a sample and median."""
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return {
        "mean": statistics.fmean(values),
        "deviation": spread,
        "median": statistics.median(values),
    }


def markdown(measured):
    """The paper's Table 2 and the alignment, from what `measure` gave for each run by name."""
    lines = [
        "| surrogate | images | run | spectral radius | lambda_1 / sum as printed "
        "| share of magnitudes | largest | smallest | worst residual |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    names = list(measured)
    spectra = measured[names[0]]["spectra"]
    for surrogate in spectra:
        for kind in spectra[surrogate]:
            for name in names:
                records = measured[name]["spectra"][surrogate][kind]
                *cells, _ = [_cell([record[f] for record in records]) for f in FIGURES]
                worst = max(record["residual"] for record in records)
                row = [surrogate, kind, name, *cells, f"{worst:.2g}"]
                lines.append(f"| {' | '.join(row)} |")
    lines += ["", "Mean (deviation), median over the batches.", ""]
    if not any(run["alignment"] for run in measured.values()):
        return "\n".join(lines[:-1])
    fields = [f.name for f in dataclasses.fields(alignment.Alignment) if f.name != "layers"]
    lines += [
        f"| alignment on clean images | {' | '.join(names)} |",
        "|---|" + "---|" * len(names),
    ]
    for field in fields:
        cells = [_cell([a[field] for a in measured[name]["alignment"]]) for name in names]
        lines.append(f"| {field.replace('_', ' ')} | {' | '.join(cells)} |")
    return "\n".join(lines)


def plot_training(results, path):
    """Draws the spectral radius along training, where the results, by name, hold one."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if not any(result["hessian_history"] for result in results.values()):
        return
    figure = Figure(figsize=(6, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for name, result in results.items():
        history = result["hessian_history"]
        radii = [record["spectral_radius"] for record in history]
        axes.plot([record["iteration"] for record in history], radii, marker="o", label=name)
    axes.set(xlabel="training step", ylabel="spectral radius of the Hessian", yscale="log")
    axes.legend()
    figure.savefig(path)


def _seen_under(model, surrogate):
    return model if surrogate == TRAINING else with_surrogate(model, surrogate)


def _craft(run, kind, images, labels, index):
    """The images of one kind: attacked once, through the run's own surrogate."""
    settings = run.settings
    if kind == "clean":
        return images
    if kind == "fgsm":
        attack = attacks.FGSM(epsilon=settings.eval_epsilon)
    else:
        attack = attacks.PGD(
            epsilon=settings.eval_epsilon,
            step_size=settings.eval_step_size,
            steps=settings.eval_steps,
            seed=settings.seed,
        )
    return attack(run.model, images, labels, seed=[settings.seed, index])


def _spectrum(hessian, x, y, protocol, vectors):
    """A record for JSON, and the `Spectrum` itself."""
    if protocol.method == "power":
        product = hessian.at(x, y, protocol.together)
        values = spectrum.power_iteration(product, hessian.dimension, protocol.count)
    else:
        values = hessian.spectrum(
            x,
            y,
            protocol.count,
            protocol.tolerance,
            protocol.max_steps,
            vectors=vectors,
            batch_size=protocol.together,
        )
    record = {
        "eigenvalues": values.eigenvalues.tolist(),
        "spectral_radius": values.radius,
        "printed_ratio": values.printed_ratio,
        "leading_share": values.leading_share,
        "largest": values.largest[0],
        "smallest": values.smallest[0],
        "residual": float(np.max(values.residuals)),
        "products": values.products,
    }
    return record, values


def _cell(values):
    if not values or not all(map(math.isfinite, values)):
        return "-"
    figures = summary(values)
    return "{mean:.4g} ({deviation:.3g}), {median:.4g}".format(**figures)
