"""What runs and measurements are expected to cost on this machine."""

import dataclasses
import statistics
import time
from collections.abc import Iterable
from collections.abc import Sequence

import keras
import numpy as np

from keras_dep import defences
from keras_dep.data import sources
from keras_dep.experiments import build
from keras_dep.experiments import grid
from keras_dep.experiments.settings import Settings
from keras_dep.studies import measurements
from keras_dep.studies.measurements import Request
from keras_dep.studies.scale import Effort

# Images of the data sets that a plan need not open.
TRAIN = {"digits": 1500, "cifar10": 50000, "cifar100": 50000}
TEST = {"digits": 297, "cifar10": 10000, "cifar100": 10000}
SHAPES = {"digits": (8, 8, 1), "cifar10": (32, 32, 3), "cifar100": (32, 32, 3)}
STEPS = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimate:
    """The expected cost of what is left.

    Args:
        groups: by data set, kind of training and methods: runs, finished ones, seconds left.
        training: seconds of training left.
        measuring: seconds of measurement left.
        finished: finished runs.
        measured: finished measurements.
        basis: where the seconds per step come from, in words.
    """

    groups: dict[tuple[str, str], tuple[list[str], int, int, float]]
    training: float
    measuring: float
    finished: int
    measured: int
    basis: str

    def rows(self) -> list[list[str]]:
        """The groups as cells of a table."""
        return [
            [dataset, kind, ", ".join(methods), str(runs), str(done), f"{seconds / 60:.1f}"]
            for (dataset, kind), (methods, runs, done, seconds) in self.groups.items()
        ]


def estimate(
    outcomes: Sequence[grid.Outcome], requests: Iterable[Request], effort: Effort, out_dir: str
) -> Estimate:
    """The expected cost, from finished runs, or from a few steps of plain training.

    Args:
        outcomes: finished runs and holes.
        requests: measurements asked for.
        effort: how thoroughly they are made.
        out_dir: folder of all runs.
    """
    known = grid.seconds_per_step(outcomes)
    probed: dict[tuple, float] = {}
    groups: dict[tuple[str, str], tuple[list[str], int, int, float]] = {}
    total, done = 0.0, 0
    for outcome in outcomes:
        left = 0.0 if outcome.result else _run_seconds(outcome.cell, known, probed)
        key = outcome.cell.settings.dataset, grid.condition(outcome.cell.settings)
        methods, runs, finished, seconds = groups.get(key, ([], 0, 0, 0.0))
        label = outcome.cell.method if outcome.cell.settings.spiking else "ANN counterpart"
        methods = methods if label in methods else [*methods, label]
        is_done = outcome.result is not None
        groups[key] = methods, runs + 1, finished + is_done, seconds + left
        total, done = total + left, done + is_done
    measuring, measured = 0.0, 0
    for request in requests:
        if _is_measured(request, effort, out_dir):
            measured += 1
            continue
        step = _step(request.cell, known, probed) / request.cell.settings.batch_size
        # Measurements compute in single precision.
        slower = 1 if request.cell.settings.precision == "float32" else 2
        measuring += slower * step * measurements.passes(request, effort)
    basis = "seconds per step of finished runs" if known else ""
    if probed:
        basis = f"{basis}, and " * bool(basis) + f"of {STEPS} steps tried"
    return Estimate(
        groups=groups,
        training=total,
        measuring=measuring,
        finished=done,
        measured=measured,
        basis=basis or "nothing is left",
    )


def spent(outcomes: Iterable[grid.Outcome]) -> float:
    """Seconds that the training steps and the measurements of some runs took."""
    total = 0.0
    for outcome in outcomes:
        if outcome.result:
            total += outcome.result["steps"] * (outcome.result["seconds_per_step"] or 0.0)
        total += sum(each.get("seconds", 0.0) for each in outcome.measured.values())
    return total


def _run_seconds(cell: grid.Cell, known: dict, probed: dict) -> float:
    s = cell.settings
    step = _step(cell, known, probed)
    train, test = (s.train_examples or TRAIN[s.dataset]), (s.test_examples or TEST[s.dataset])
    attacked = min(s.attack_examples or test, test) * (1 + s.eval_steps * s.eval_restarts)
    steps = grid.training_steps(s, train)
    poisoned = steps - s.epochs * (train // min(s.batch_size, train))
    watched = 2 * poisoned * min(s.watch_examples, test)
    # A pass without gradient costs a third of a step.
    seen = (s.epochs * test + watched) / 3 + attacked
    return step * (steps + seen / s.batch_size)


def _step(cell: grid.Cell, known: dict, probed: dict) -> float:
    """Seconds of a training step of a cell, measured or inferred from a similar one."""
    dataset, model, base, _, timesteps = key = grid.cost_key(cell)
    if not cell.settings.spiking:
        # An ANN counterpart has one time step.
        return _step(cell.varied(spiking=True), known, probed) / cell.settings.timesteps
    if key in known:
        return known[key]
    # FGSM in the step is one more pass.
    factor = {"clean": 1, "adversarial": 2}
    similar = [
        seconds * factor[base] / factor[found[2]] * timesteps / found[4]
        for found, seconds in known.items()
        if found[:2] == (dataset, model)
    ]
    if similar:
        return statistics.median(similar)
    if (dataset, model) not in probed:
        probed[dataset, model] = _probe(cell.settings) / timesteps
    return probed[dataset, model] * timesteps * factor[base]


def _probe(settings: Settings) -> float:
    """Seconds of one step of plain training on noise: the least of a few, compilation aside."""
    plain = dataclasses.replace(settings, base="clean", poison_count=0, poison_protocol="pixel")
    policy = keras.mixed_precision.dtype_policy()
    try:
        keras.mixed_precision.set_dtype_policy(plain.precision)
        draw = np.random.default_rng(0)
        shape = (plain.batch_size, *SHAPES[plain.dataset])
        images = draw.integers(0, 256, shape).astype("uint8")
        labels = draw.integers(0, 10, plain.batch_size).astype("int32")
        data = sources.Dataset(
            name=plain.dataset,
            x_train=images,
            y_train=labels,
            x_test=images,
            y_test=labels,
            num_classes=10,
            mean=(0.5,) * shape[-1],
            std=(0.25,) * shape[-1],
            label_names=("",) * 10,
        )
        batches = build.build_batches(plain, data)
        parts = build.assemble(plain, defences.get("sgd"), data, batches)
        x, y = batches[0]
        return min(_timed(parts.model, x, y) for _ in range(STEPS))
    finally:
        keras.mixed_precision.set_dtype_policy(policy)


def _timed(model: keras.Model, x, y) -> float:
    started = time.perf_counter()
    model.train_on_batch(x, y)
    return time.perf_counter() - started


def _is_measured(request: Request, effort: Effort, out_dir: str) -> bool:
    try:
        return measurements.read(request, effort, out_dir) is not None
    except ValueError:
        return False
