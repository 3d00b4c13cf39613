"""What runs and measurements are expected to cost on this machine."""

import dataclasses
import statistics
import time
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence

import keras
import numpy as np

from keras_dep import defences
from keras_dep._internal import environment
from keras_dep._internal.types import Record
from keras_dep.data import sources
from keras_dep.experiments import build
from keras_dep.experiments import grid
from keras_dep.experiments.engines.task import Key
from keras_dep.experiments.settings import Settings
from keras_dep.studies import measurements
from keras_dep.studies.measurements import Request
from keras_dep.studies.scale import Effort

# Images of the data sets that a plan need not open.
TRAIN = {"digits": 1500, "cifar10": 50000, "cifar100": 50000, "tiny_imagenet": 100000}
TEST = {"digits": 297, "cifar10": 10000, "cifar100": 10000, "tiny_imagenet": 10000}
SHAPES = {
    "digits": (8, 8, 1),
    "cifar10": (32, 32, 3),
    "cifar100": (32, 32, 3),
    "tiny_imagenet": (64, 64, 3),
}
STEPS = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimate:
    """The expected cost of what is left.

    Args:
        groups: by data set, kind of training and methods: runs, finished ones, seconds left.
        seconds: of each run and measurement that is left, by the key of its task.
        training: seconds of training left.
        measuring: seconds of measurement left.
        finished: finished runs.
        measured: finished measurements.
        memory: the largest memory of a process so far, in bytes, or `None`.
        basis: where the seconds per step come from, in words.
    """

    groups: dict[tuple[str, str], tuple[list[str], int, int, float]]
    seconds: dict[Key, float]
    training: float
    measuring: float
    finished: int
    measured: int
    memory: int | None
    basis: str

    def rows(self) -> list[list[str]]:
        """The groups as cells of a table."""
        return [
            [dataset, kind, ", ".join(methods), str(runs), str(done), f"{seconds / 60:.1f}"]
            for (dataset, kind), (methods, runs, done, seconds) in self.groups.items()
        ]


def estimate(
    outcomes: Sequence[grid.Outcome],
    requests: Iterable[Request],
    effort: Effort,
    out_dir: str,
    thorough: bool = False,
) -> Estimate:
    """The expected cost, from finished runs and from a few steps on noise.

    Args:
        outcomes: finished runs and holes.
        requests: measurements asked for.
        effort: how thoroughly they are made.
        out_dir: folder of all runs.
        thorough: try a few steps of each method, instead of inferring their time from another.
    """
    requests = list(requests)
    done = {request: measurements.finished(request, effort, out_dir) for request in requests}
    times = _Times(outcomes, thorough, _seconds_per_pass(done, effort))
    groups: dict[tuple[str, str], tuple[list[str], int, int, float]] = {}
    seconds: dict[Key, float] = {}
    for outcome in outcomes:
        cell, is_done = outcome.cell, outcome.result is not None
        left = 0.0 if is_done else times.of_run(cell)
        if not is_done:
            seconds[cell.fingerprint,] = left
        key = cell.settings.dataset, grid.condition(cell.settings)
        methods, runs, finished, before = groups.get(key, ([], 0, 0, 0.0))
        label = cell.method if cell.settings.spiking else "ANN counterpart"
        methods = methods if label in methods else [*methods, label]
        groups[key] = methods, runs + 1, finished + is_done, before + left
    training = sum(seconds.values())
    for request, record in done.items():
        if record is None:
            seconds[measurements.key_of(request)] = times.of_measurement(request, effort)
    return Estimate(
        groups=groups,
        seconds=seconds,
        training=training,
        measuring=sum(seconds.values()) - training,
        finished=sum(outcome.result is not None for outcome in outcomes),
        measured=sum(record is not None for record in done.values()),
        memory=times.memory(outcomes),
        basis=times.basis(),
    )


def spent(outcomes: Iterable[grid.Outcome]) -> float:
    """Seconds that the training steps and the measurements of some runs took."""
    total = 0.0
    for outcome in outcomes:
        if outcome.result:
            total += outcome.result["steps"] * (outcome.result["seconds_per_step"] or 0.0)
        total += sum(each.get("seconds", 0.0) for each in outcome.measured.values())
    return total


def _seconds_per_pass(
    done: Mapping[Request, Record | None], effort: Effort
) -> dict[tuple[str, ...], float]:
    """The median of finished measurements, for each of their `_kinds`."""
    found: dict[tuple[str, ...], list[float]] = {}
    for request, record in done.items():
        if record is not None and "reason" not in record:
            rate = record["seconds"] / measurements.passes(request, effort)
            for kind in _kinds(request):
                found.setdefault(kind, []).append(rate)
    return {kind: statistics.median(rates) for kind, rates in found.items()}


def _kinds(request: Request) -> list[tuple[str, ...]]:
    """The measurements that tell what this one costs, the nearest first."""
    s = request.cell.settings
    network = s.dataset, s.model, str(s.spiking), s.precision
    kind = (request.name, *network, s.base)
    return [(*kind, request.cell.method), kind, (request.name, *network)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Trial:
    """The seconds of a step, and those before the first one is done: building and compiling."""

    step: float
    start: float = 0.0


class _Times:
    """Seconds of runs and measurements, from finished runs, else from trials."""

    def __init__(
        self,
        outcomes: Sequence[grid.Outcome],
        thorough: bool,
        measured: dict[tuple[str, ...], float],
    ) -> None:
        self.known = grid.seconds_per_step(outcomes)
        self.measured = measured
        self.thorough = thorough
        self.tried: dict[tuple, _Trial] = {}
        # Of plain training, per time step.
        self.plain: dict[tuple[str, str], tuple[float, float]] = {}

    def of_run(self, cell: grid.Cell) -> float:
        s = cell.settings
        train, test = (s.train_examples or TRAIN[s.dataset]), (s.test_examples or TEST[s.dataset])
        attacked = min(s.attack_examples or test, test) * (1 + s.eval_steps * s.eval_restarts)
        steps = grid.training_steps(s, train)
        poisoned = steps - s.epochs * (train // min(s.batch_size, train))
        watched = 2 * poisoned * min(s.watch_examples, test)
        # A pass without gradient costs a third of a step.
        seen = (s.epochs * test + watched) / 3 + attacked
        trial = self._of_step(cell)
        hessians = s.hessian_share if s.hessian_examples else 0.0
        return trial.start + trial.step * (steps * (1 + hessians) + seen / s.batch_size)

    def of_measurement(self, request: Request, effort: Effort) -> float:
        for kind in _kinds(request):
            if kind in self.measured:
                return self.measured[kind] * measurements.passes(request, effort)
        s = request.cell.settings
        step = self._of_step(request.cell.varied(base="clean", poison_count=0)).step
        # Measurements compute in single precision.
        slower = 1 if s.precision == "float32" else 2
        return slower * step / s.batch_size * measurements.passes(request, effort)

    def memory(self, outcomes: Sequence[grid.Outcome]) -> int | None:
        """The peak of finished runs, and of this process where it has tried steps."""
        found = [each.result.get("peak_memory") for each in outcomes if each.result]
        found += [environment.peak_memory()] if self.tried else []
        return max(filter(None, found), default=None)

    def basis(self) -> str:
        """Where the seconds come from, in words."""
        parts = ["seconds of finished measurements"] if self.measured else []
        parts += ["seconds per step of finished runs"] if self.known else []
        parts += [f"of {STEPS} steps tried"] if self.tried else []
        return ", ".join(parts) or "nothing is left"

    def _of_step(self, cell: grid.Cell) -> _Trial:
        """A training step of a cell, measured or inferred from a similar one."""
        dataset, model, base, _, timesteps = key = grid.cost_key(cell)
        if not cell.settings.spiking and not self.thorough:
            # An ANN counterpart has one time step.
            whole = self._of_step(cell.varied(spiking=True))
            return _Trial(step=whole.step / cell.settings.timesteps, start=whole.start)
        if key in self.known and cell.settings.spiking:
            return _Trial(step=self.known[key])
        if self.thorough:
            return self._tried(cell)
        # FGSM in the step is one more pass.
        factor = {"clean": 1, "adversarial": 2}
        similar = [
            seconds * factor[base] / factor[found[2]] * timesteps / found[4]
            for found, seconds in self.known.items()
            if found[:2] == (dataset, model)
        ]
        if similar:
            return _Trial(step=statistics.median(similar))
        if (dataset, model) not in self.plain:
            plain = self._tried(cell.varied(base="clean", method="sgd", poison_count=0))
            self.plain[dataset, model] = plain.step / timesteps, plain.start
        step, start = self.plain[dataset, model]
        return _Trial(step=step * timesteps * factor[base], start=start)

    def _tried(self, cell: grid.Cell) -> _Trial:
        s = cell.settings
        # What a step costs depends on the shape of the images, not on the data set.
        key = SHAPES[s.dataset], s.model, s.spiking, s.timesteps, s.batch_size, s.base, cell.method
        if key not in self.tried:
            self.tried[key] = _trial(cell)
        return self.tried[key]


def _trial(cell: grid.Cell) -> _Trial:
    """A few steps on noise: the median of their times, and the time before the first is done."""
    plain = cell.varied(poison_count=0, poison_protocol="pixel", normalization_control="none")
    policy = keras.mixed_precision.dtype_policy()
    try:
        method = defences.get(plain.method)
    except ValueError:  # The run itself fails with this error.
        return _Trial(step=0.0)
    try:
        settings = build.settings_of(plain.settings, method)
        keras.mixed_precision.set_dtype_policy(settings.precision)
        data = _noise(settings)
        started = time.perf_counter()
        parts = build.assemble(settings, method, data, build.build_batches(settings, data))
        x, y = parts.training_data[0]
        _timed(parts.model, x, y)
        start = time.perf_counter() - started
        # The median: other work on the machine will slow the runs too.
        step = statistics.median(_timed(parts.model, x, y) for _ in range(STEPS))
        return _Trial(step=step, start=start)
    finally:
        keras.mixed_precision.set_dtype_policy(policy)


def _noise(settings: Settings) -> sources.Dataset:
    draw = np.random.default_rng(0)
    shape = (settings.batch_size, *SHAPES[settings.dataset])
    images = draw.integers(0, 256, shape).astype("uint8")
    labels = draw.integers(0, 10, settings.batch_size).astype("int32")
    return sources.Dataset(
        name=settings.dataset,
        x_train=images,
        y_train=labels,
        x_test=images,
        y_test=labels,
        num_classes=10,
        mean=(0.5,) * shape[-1],
        std=(0.25,) * shape[-1],
        label_names=("",) * 10,
    )


def _timed(model: keras.Model, x, y) -> float:
    started = time.perf_counter()
    model.train_on_batch(x, y)
    return time.perf_counter() - started
