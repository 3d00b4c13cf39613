"""What tables need of a trained network beyond `result.json`, measured once and kept beside it."""

import dataclasses
import functools
import os
import time
import warnings
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from keras_dep import evaluation
from keras_dep import models
from keras_dep._internal import atomic_io
from keras_dep._internal import environment
from keras_dep._internal import records
from keras_dep._internal.types import Array
from keras_dep._internal.types import Record
from keras_dep.curvature.operators import Hessian
from keras_dep.curvature.precision import with_dtype
from keras_dep.data import pixels
from keras_dep.experiments import build
from keras_dep.experiments import grid
from keras_dep.experiments import results
from keras_dep.experiments.engines import Task
from keras_dep.losses import MeanLogitCrossentropy
from keras_dep.studies import curvature
from keras_dep.studies.scale import Effort

_MEND = "remove the file to measure again"
_STEPS = "the released attack needs weights that all steps share"
# Reasons that lie in a network: measuring again gives them again.
LASTING = frozenset({_STEPS})
_KEPT = {"effort": {}, "seconds": float, "found": object}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """One measurement of one run.

    Args:
        name: one of `NAMES`.
        cell: the run.
        substitutes: finished runs whose networks images are transferred from.
        timesteps: numbers of steps that the network is seen at, for `"growth"`.
        radius: radius of the attacks in grey levels of 255, for `"worst_case"`.
    """

    name: str
    cell: grid.Cell
    substitutes: tuple[grid.Cell, ...] = ()
    timesteps: tuple[int, ...] = ()
    radius: int = 8

    def path(self, out_dir: str) -> str:
        """The file of the measurement, in the folder of the run."""
        return os.path.join(self.cell.folder(out_dir), f"{self.name}.json")


def effort_of(request: Request, effort: Effort) -> Record:
    """What decides a measurement, beside the network: plain values."""
    about: dict[str, dict[str, Any]] = {
        "released": {"examples": effort.released_examples},
        "worst_case": {
            "suite": effort.suite,
            "examples": effort.suite_examples,
            "radius": request.radius,
        },
        "curvature": dataclasses.asdict(effort.curvature),
        "checklist": {**effort.checklist, "examples": effort.checklist_examples},
        "epsilon_sweep": {"epsilons": effort.epsilons, "examples": effort.sweep_examples},
        "step_sweep": {"steps": effort.steps, "examples": effort.sweep_examples},
        "growth": {
            "timesteps": request.timesteps,
            "examples": effort.curvature.batch_size,
            "max_steps": effort.curvature.max_steps,
            "tolerance": effort.curvature.tolerance,
        },
    }
    transferred = [each.fingerprint for each in request.substitutes]
    return records.plain({**about[request.name], "substitutes": transferred})


def read(request: Request, effort: Effort, out_dir: str) -> Record | None:
    """A finished measurement, or `None` where there is none of this effort.

    Returns:
        Dictionary of `effort`, `seconds` and `found`, and of a `reason` where the network has no
        such figures.

    Raises:
        ValueError: the file is damaged; one line with the file and the mend.
    """
    path = request.path(out_dir)
    if not os.path.exists(path):
        return None
    record = records.read(path, _KEPT, _MEND)
    return record if record["effort"] == effort_of(request, effort) else None


def measure(
    request: Request,
    effort: Effort,
    out_dir: str,
    data_dir: str | None = None,
    patience: float = 0.0,
) -> Record:
    """Measures a finished run, or reads what was measured before.

    Args:
        request: the measurement.
        effort: how thoroughly.
        out_dir: folder of all runs.
        data_dir: TFDS folder; default: the user's.
        patience: seconds to wait while another process makes it.

    Returns:
        As `read`.

    Raises:
        ValueError: the run or a substitute is not finished, or does not suit the measurement, or
            another process makes it.
    """
    known = read(request, effort, out_dir)
    if known is not None:
        return known
    folder = request.cell.folder(out_dir)
    # Only to say what is missing, before a lock makes the folder.
    results.finished(folder)
    with atomic_io.claimed(folder, f"{request.name}.lock", patience):
        return read(request, effort, out_dir) or _measure(request, effort, out_dir, data_dir)


def tasks(
    requests: Iterable[Request],
    effort: Effort,
    out_dir: str,
    data_dir: str | None = None,
    patience: float = 0.0,
) -> list[Task]:
    """The measurements that are missing, as tasks for an engine.

    Args:
        requests: the measurements.
        effort: how thoroughly they are made.
        out_dir: folder of all runs.
        data_dir: TFDS folder; default: the user's.
        patience: seconds to wait while another process makes one.

    Returns:
        List of `keras_dep.experiments.engines.Task`, with fingerprint and name as the key. Each
        comes after the runs that it measures or transfers images from, and does nothing if its run
        has failed.
    """
    return [
        Task(
            key=key_of(request),
            title=f"{request.name} of {grid.describe(request.cell)}",
            call=functools.partial(_reason, request, effort, out_dir, data_dir, patience),
            after=[(cell.fingerprint,) for cell in (request.cell, *request.substitutes)],
        )
        for request in requests
        if finished(request, effort, out_dir) is None
    ]


def key_of(request: Request) -> tuple[str, str]:
    """The fingerprint of the run and the name of the measurement."""
    return request.cell.fingerprint, request.name


def finished(request: Request, effort: Effort, out_dir: str) -> Record | None:
    """As `read`, and `None` for a damaged file."""
    try:
        return read(request, effort, out_dir)
    except ValueError:
        return None


def _reason(
    request: Request, effort: Effort, out_dir: str, data_dir: str | None, patience: float
) -> str | None:
    """Measures; the reason of a failure, in one line."""
    if request.cell.state(out_dir) != grid.FINISHED:
        return None
    try:
        measure(request, effort, out_dir, data_dir, patience)
    # A framework raises errors of its own where memory gives out.
    except Exception as error:  # noqa: BLE001
        return grid.one_line(error)
    return None


def _measure(request: Request, effort: Effort, out_dir: str, data_dir: str | None) -> Record:
    run = curvature.Run(request.cell.folder(out_dir))
    settings = dataclasses.replace(run.settings, data_dir=data_dir, train_examples=1)
    data = build.load_data(settings)
    started = time.perf_counter()
    found = _MEASURES[request.name](
        run,
        pixels.scaled(data.x_test),
        np.asarray(data.y_test),
        effort,
        request,
        [_network(each, out_dir) for each in request.substitutes],
    )
    record = {
        "effort": effort_of(request, effort),
        "seconds": time.perf_counter() - started,
        "found": found,
        **environment.environment(),
    }
    if isinstance(found, dict) and "reason" in found:
        record["reason"] = found["reason"]
    records.write(request.path(out_dir), record)
    return records.plain(record)


def passes(request: Request, effort: Effort) -> float:
    """Images that the measurement shows a network, with gradient, counted with repetition: a guess.

    Args:
        request: the measurement.
        effort: how thoroughly.
    """
    e = effort
    sweep = sum(1 + 7 for _ in e.epsilons) * (1 + bool(request.substitutes))
    steps = sum(e.steps) * (1 + bool(request.substitutes))
    # An image that withstands the whole reliable suite is in 5,000; others break earlier.
    suite = {"quick": 40, "paper": 10}.get(e.suite, 3000)
    check = e.checklist
    tried = 40 * check.get("steps", 50) * check.get("restarts", 5) + check.get("queries", 5000) / 3
    # A step is that of the usual number of time steps.
    grown = sum(request.timesteps) / request.cell.settings.timesteps
    return {
        "released": e.released_examples * 30,
        "worst_case": e.suite_examples * suite,
        "curvature": e.curvature.batches * e.curvature.batch_size * e.curvature.max_steps * 9,
        "checklist": e.checklist_examples * (tried + 2 * check.get("draws", 10000) / 3),
        "epsilon_sweep": e.sweep_examples * sweep,
        "step_sweep": e.sweep_examples * steps,
        "growth": e.curvature.batch_size * e.curvature.max_steps * 3 * grown,
    }[request.name]


def _network(cell: grid.Cell, out_dir: str) -> keras.Model:
    folder = cell.folder(out_dir)
    _, result = results.finished(folder)
    model = results.trained_network(folder, result)
    return model if cell.settings.precision == "float32" else with_dtype(model, "float32")


def _released(
    run, images: Array, labels: Array, effort: Effort, request, others
) -> list[Record] | Record:
    chosen = slice(0, effort.released_examples)
    if any(getattr(layer, "weights_per_step", False) for layer in run.model.layers):
        return {"reason": _STEPS}
    with warnings.catch_warnings():
        # Its caution stands in the protocol of the figures.
        warnings.simplefilter("ignore")
        return evaluation.released_protocol(run.model, images[chosen], labels[chosen])


def _worst_case(run, images: Array, labels: Array, effort: Effort, request, others) -> Record:
    chosen = slice(0, effort.suite_examples)
    record = evaluation.evaluate(
        run.model,
        images[chosen],
        labels[chosen],
        effort.suite,
        epsilon=request.radius / 255,
        early_exit=True,
        verbose=0,
    )
    return {name: record[name] for name in ("clean", "worst_case", "reliable", "left_out")}


def _curvature(run, images: Array, labels: Array, effort: Effort, request, others) -> Record:
    protocol = effort.curvature
    count = protocol.batches * protocol.batch_size
    if count > len(images):
        raise ValueError(
            f"curvature needs {count} test images; received {len(images)}; choose fewer batches."
        )
    return curvature.measure(run, images[:count], labels[:count], protocol)


def _checklist(run, images: Array, labels: Array, effort: Effort, request, others) -> list[Record]:
    chosen = slice(0, effort.checklist_examples)
    return evaluation.checklist(
        run.model, images[chosen], labels[chosen], substitutes=others, **effort.checklist
    )


def _epsilon_sweep(
    run, images: Array, labels: Array, effort: Effort, request, others
) -> list[Record]:
    chosen = slice(0, effort.sweep_examples)
    epsilons = tuple(level / 255 for level in effort.epsilons)
    return evaluation.epsilon_sweep(
        run.model, images[chosen], labels[chosen], epsilons=epsilons, substitutes=others
    )


def _step_sweep(run, images: Array, labels: Array, effort: Effort, request, others) -> list[Record]:
    chosen = slice(0, effort.sweep_examples)
    return evaluation.step_sweep(
        run.model, images[chosen], labels[chosen], steps=effort.steps, substitutes=others
    )


def _growth(run, images: Array, labels: Array, effort: Effort, request, others) -> Record:
    """The spectral radius with the weights of the run at each number of steps."""
    protocol, radii = effort.curvature, {}
    images, labels = images[: protocol.batch_size], labels[: protocol.batch_size]
    for steps in request.timesteps:
        network = run.model
        if steps != run.settings.timesteps:
            # A rate encoder draws from a new generator.
            keras.utils.set_random_seed(run.settings.seed)
            network = models.with_timesteps(run.model, steps)
        hessian = Hessian(network, MeanLogitCrossentropy())
        spectrum = hessian.spectrum(
            images,
            labels,
            count=1,
            tolerance=protocol.tolerance,
            max_steps=protocol.max_steps,
            batch_size=protocol.together,
        )
        radii[str(steps)] = spectrum.radius
    return {"radius": radii}


_MEASURES = {
    "released": _released,
    "worst_case": _worst_case,
    "curvature": _curvature,
    "checklist": _checklist,
    "epsilon_sweep": _epsilon_sweep,
    "step_sweep": _step_sweep,
    "growth": _growth,
}
NAMES = tuple(_MEASURES)
