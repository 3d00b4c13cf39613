"""Spectra, alignment, trace and density of one run."""

import dataclasses
import statistics
from collections.abc import Callable

import numpy as np

from keras_dep import attacks
from keras_dep import curvature
from keras_dep._internal.types import Array
from keras_dep._internal.types import Record
from keras_dep.curvature import alignment
from keras_dep.curvature.operators import Hessian
from keras_dep.layers.overrides import surrogate_of
from keras_dep.layers.overrides import with_surrogate
from keras_dep.losses import MeanLogitCrossentropy
from keras_dep.optimizers import DEP
from keras_dep.studies.curvature.protocol import TRAINING
from keras_dep.studies.curvature.protocol import Protocol
from keras_dep.studies.curvature.runs import Run
from keras_dep.summaries import EventWriter

LOSS = "cross-entropy of the mean logits"
# The values of each batch that are logged.
FIGURES = ("spectral_radius", "printed_ratio", "leading_share", "largest", "smallest", "residual")


def measure(
    run: Run,
    images: Array,
    labels: Array,
    protocol: Protocol,
    writer: EventWriter | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> Record:
    """Measures one run by a protocol.

    Args:
        run: a `keras_dep.studies.curvature.Run`.
        images: float32 array `(batches * batch_size, height, width, channels)` in [0, 1].
        labels: integer array `(batches * batch_size,)`.
        protocol: a `keras_dep.studies.curvature.Protocol`.
        writer: a `keras_dep.summaries.EventWriter`, or `None`.
        report: called with a line of progress after each spectrum.

    Returns:
        Dictionary of plain values: `loss`, the name of the loss; `surrogates`, the surrogate behind
        each name of the protocol; by those names `spectra[surrogate][kind]`, a record per batch,
        `epochs[surrogate]`, a record per kept epoch and batch, and on request `trace[surrogate]`
        and `density[surrogate]`. A record of clean images has an `alignment`, unless the method is
        `"power"`, which keeps no eigenvectors.
    """
    hessians = {
        name: Hessian(_seen_under(run.model, name), MeanLogitCrossentropy())
        for name in protocol.surrogates
    }
    size = protocol.batch_size
    starts = range(0, protocol.batches * size, size)
    batches = [(images[start : start + size], labels[start : start + size]) for start in starts]
    found: Record = {
        "loss": LOSS,
        "surrogates": {
            TRAINING: surrogate_of(run.model),
            **{name: hessian.surrogate for name, hessian in hessians.items()},
        },
        "spectra": {name: {kind: [] for kind in protocol.kinds} for name in hessians},
        "epochs": {name: [] for name in hessians},
    }

    def record(hessian, x, y, where, aligned):
        made = _record(hessian, x, y, protocol, run.settings.rank_one if aligned else None)
        report(
            f"{where}, {hessian.surrogate}: spectral radius {made['spectral_radius']:.4g} "
            f"+- {made['residual']:.2g}, {made['products']} products"
        )
        return made

    for index, (clean, y) in enumerate(batches):
        for kind in protocol.kinds:
            x = _craft(run, kind, clean, y, index)
            for name, hessian in hessians.items():
                where = f"batch {index + 1}/{protocol.batches}, {kind}"
                made = record(hessian, x, y, where, aligned=kind == "clean")
                found["spectra"][name][kind].append(made)
                _write(writer, f"curvature_{kind}/{name}", [made], index)
    for epoch in run.epochs() if protocol.epoch_batches else ():
        for name, hessian in hessians.items():
            made = [
                record(hessian, x, y, f"epoch {epoch}, batch {index + 1}", aligned=True)
                for index, (x, y) in enumerate(batches[: protocol.epoch_batches])
            ]
            found["epochs"][name] += [
                {"epoch": epoch, "batch": index, **one} for index, one in enumerate(made)
            ]
            _write(writer, f"curvature_epochs/{name}", made, epoch)
    if protocol.trace_products:
        found["trace"] = {
            name: _trace(hessian, *batches[0], protocol) for name, hessian in hessians.items()
        }
    if protocol.density_vectors:
        found["density"] = {
            name: _density(hessian, *batches[0], protocol) for name, hessian in hessians.items()
        }
    return found


def _seen_under(model, surrogate):
    return model if surrogate == TRAINING else with_surrogate(model, surrogate)


def _craft(run, kind, images, labels, index):
    """Returns the images of one kind, attacked through the run's own surrogate."""
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


def _record(hessian, x, y, protocol, rank_one):
    """Returns a spectrum for JSON, and the alignment of a DEP with that `rank_one`, if any."""
    aligned = rank_one is not None and protocol.method == "lanczos"
    if protocol.method == "power":
        product = hessian.at(x, y, protocol.together)
        values = curvature.power_iteration(product, hessian.dimension, protocol.count)
    else:
        values = hessian.spectrum(
            x,
            y,
            protocol.count,
            protocol.tolerance,
            protocol.max_steps,
            vectors=aligned,
            batch_size=protocol.together,
        )
    record = {
        "eigenvalues": values.eigenvalues.tolist(),
        "residuals": values.residuals.tolist(),
        "spectral_radius": values.radius,
        "printed_ratio": values.printed_ratio,
        "leading_share": values.leading_share,
        "largest": values.largest[0],
        "smallest": values.smallest[0],
        "residual": float(np.max(values.residuals)),
        "products": values.products,
    }
    if aligned:
        optimizer = DEP("sgd", rank_one=rank_one)
        found = alignment.measure(hessian, x, y, values, optimizer, protocol.together)
        record["alignment"] = dataclasses.asdict(found)
    return record


def _write(writer, tag, records, step):
    if writer is not None:
        for figure in FIGURES:
            mean = statistics.fmean(record[figure] for record in records)
            writer.scalar(f"{tag}/{figure}", mean, step)


def _trace(hessian, x, y, protocol):
    product = hessian.at(x, y, protocol.together)
    found = curvature.hutch_plus_plus(product, hessian.dimension, protocol.trace_products)
    return dataclasses.asdict(found)


def _density(hessian, x, y, protocol):
    product = hessian.at(x, y, protocol.together)
    found = curvature.spectral_density(product, hessian.dimension, protocol.density_vectors)
    return {
        "nodes": [nodes.tolist() for nodes in found.nodes],
        "weights": [weights.tolist() for weights in found.weights],
        "dimension": found.dimension,
    }
