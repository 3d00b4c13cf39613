"""Grids of runs: cells of settings and method, each trained once and shared between tables."""

import contextlib
import dataclasses
import functools
import hashlib
import itertools
import os
import re
import statistics
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from keras_dep import defences
from keras_dep._internal import records
from keras_dep._internal.types import Record
from keras_dep.data import sources
from keras_dep.experiments import build
from keras_dep.experiments import results
from keras_dep.experiments.engines import Engine
from keras_dep.experiments.engines import Local
from keras_dep.experiments.engines import Task
from keras_dep.experiments.run import run as train_run
from keras_dep.experiments.settings import Settings

RUNS, FAILURE = "runs", "failure.json"
FINISHED, UNFINISHED, NEW = "finished", "unfinished", "new"
NOT_TRAINED = "not trained yet"
CostKey = tuple[str, str, str, str, int]
_MEND = "remove the file; the run is tried again"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cell:
    """One run of a grid.

    Args:
        settings: what it does.
        method: an expression for `keras_dep.defences.get`.

    Example:

    >>> Cell(settings=Settings(seed=1), method="dep").group == Cell(settings=Settings(seed=1)).group
    True
    """

    settings: Settings
    method: str = "sgd"

    @functools.cached_property
    def group(self) -> str:
        """Hash of settings and backend: runs of one group differ by their method alone.

        Settings at their default do not enter it, so it outlives new settings.
        """
        found = results.description(self.settings, "")
        usual = dataclasses.asdict(Settings())
        chosen = {name: v for name, v in found["settings"].items() if v != usual[name]}
        text = records.to_json({"backend": found["backend"], **dict(sorted(chosen.items()))})
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def fingerprint(self) -> str:
        """What decides the result, as a path below `runs`: the group, and the method in it."""
        return os.path.join(self.group, method_folder(self.method))

    def folder(self, out_dir: str) -> str:
        """The folder of the run."""
        return os.path.join(out_dir, RUNS, self.fingerprint)

    def state(self, out_dir: str) -> str:
        """`"finished"`, `"unfinished"` (begun or failed) or `"new"`."""
        folder = self.folder(out_dir)
        if os.path.exists(os.path.join(folder, results.RESULT)):
            return FINISHED
        return UNFINISHED if os.path.isdir(folder) else NEW

    def varied(self, **values: Any) -> "Cell":
        """The cell with other settings or another `method`."""
        method = values.pop("method", self.method)
        return Cell(settings=dataclasses.replace(self.settings, **values), method=method)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a cell.

    Args:
        cell: the cell.
        folder: the folder of its run.
        result: the dictionary of `result.json`, or `None`.
        reason: why there is none, in one line, or `None`.
        measured: what was measured of the trained network beside, by name.
    """

    cell: Cell
    folder: str
    result: Record | None = None
    reason: str | None = None
    measured: Mapping[str, Record] = dataclasses.field(default_factory=dict)


def product(
    base: Mapping[str, Any],
    methods: Sequence[str],
    seeds: Iterable[int],
    conditions: Iterable[Mapping[str, Any]] = ({},),
) -> list[Cell]:
    """The cells of every condition, seed and method, in this order.

    Args:
        base: settings that all cells share.
        methods: expressions for `keras_dep.defences.get`; those that others need come first.
        seeds: seeds of the runs.
        conditions: settings that differ.

    Returns:
        List of `Cell`, each once.

    Raises:
        ValueError: settings that do not fit one another.

    Example:

    >>> cells = product({"epochs": 2}, ["sgd", "dep"], range(3), [{"poison_count": 0}, {}])
    >>> len(cells)
    12
    """
    return unique(
        Cell(settings=Settings(**{**base, **condition, "seed": seed}), method=method)
        for condition, seed, method in itertools.product(conditions, seeds, methods)
    )


def unique(cells: Iterable[Cell]) -> list[Cell]:
    """The cells in their order, those that stand for one run once."""
    found: dict[str, Cell] = {}
    for cell in cells:
        found.setdefault(cell.fingerprint, cell)
    return list(found.values())


def train(
    cells: Iterable[Cell],
    out_dir: str,
    report: Callable[[str], None] = lambda line: None,
    verbose: str | int = 0,
    engine: Engine | None = None,
) -> list[Outcome]:
    """Trains what is not finished, and resumes what was broken off.

    A run that fails leaves its reason in `failure.json` and the others go on; the next call tries
    it again.

    Args:
        cells: the runs wanted.
        out_dir: folder of all runs.
        report: called with a line for each run that is trained, and after one that fails.
        verbose: as in `keras.Model.fit`.
        engine: trains the runs; default: `keras_dep.experiments.engines.Local`, one after the
            other in this process.

    Returns:
        List of `Outcome`, in the order of the cells.
    """
    cells = unique(cells)
    engine = engine or Local()
    engine.carry_out(tasks(cells, out_dir, verbose, engine.patience), report)
    return collect(cells, out_dir)


def tasks(
    cells: Iterable[Cell], out_dir: str, verbose: str | int = 0, patience: float = 0.0
) -> list[Task]:
    """The runs that are not finished, as tasks for an engine.

    Args:
        cells: the runs wanted.
        out_dir: folder of all runs, under this path on every machine.
        verbose: as in `keras.Model.fit`.
        patience: seconds to wait for a folder that another process uses.

    Returns:
        List of `keras_dep.experiments.engines.Task`, whose key is the fingerprint. A run comes
        after those of its group that its method needs.

    Example:

    >>> import tempfile
    >>> [task.title for task in tasks(product({}, ["sgd", "dep"], [0]), tempfile.mkdtemp())]
    ['digits vgg5 sgd, c/+p_0, 1 batch, seed 0', 'digits vgg5 dep, c/+p_0, 1 batch, seed 0']
    """
    return [
        Task(
            key=(cell.fingerprint,),
            title=describe(cell),
            call=functools.partial(_trained, cell, out_dir, verbose, patience),
            after=[(cell.varied(method=name).fingerprint,) for name in needs(cell)],
            fail=functools.partial(_fail, cell, out_dir),
        )
        for cell in unique(cells)
        if cell.state(out_dir) != FINISHED
    ]


def needs(cell: Cell) -> tuple[str, ...]:
    """The methods whose runs in the group of a cell must be finished before it.

    Example:

    >>> needs(Cell(settings=Settings(), method="hosnn+dep"))
    ('sgd',)
    """
    try:
        return defences.get(cell.method).needs
    except ValueError:  # The run itself fails with this error.
        return ()


def collect(cells: Iterable[Cell], out_dir: str) -> list[Outcome]:
    """Reads what has become of some cells, without training any.

    Args:
        cells: the runs wanted.
        out_dir: folder of all runs.

    Returns:
        List of `Outcome`. One without a result says why: not trained yet, failed, or a folder
        that holds something else.
    """
    return [_outcome(cell, out_dir) for cell in unique(cells)]


def failure(cell: Cell, out_dir: str) -> str | None:
    """Why the last attempt at a run failed, or `None`.

    Raises:
        ValueError: the file with the reason is damaged.
    """
    path = os.path.join(cell.folder(out_dir), FAILURE)
    if not os.path.exists(path):
        return None
    return records.read(path, {"reason": str}, _MEND)["reason"]


def describe(cell: Cell) -> str:
    """A cell in words: data, network, method, kind of training, poison, time and seed.

    Example:

    >>> describe(Cell(settings=Settings(poison_count=0), method="dep"))
    'digits vgg5 dep, c, seed 0'
    """
    s = cell.settings
    network = s.model if s.spiking else f"{s.model} with ReLUs"
    words = [f"{s.dataset} {network} {cell.method}", condition(s)]
    if s.timesteps != Settings.timesteps:
        words.append(f"T {s.timesteps}")
    if s.encoder != Settings.encoder:
        words.append(f"{s.encoder} coding")
    if s.detach_membrane:
        words.append("detached membrane")
    return ", ".join([*words, f"seed {s.seed}"])


def condition(settings: Settings) -> str:
    """The kind of training in the paper's notation, with what it leaves open where not the default.

    Example:

    >>> condition(Settings(base="adversarial", poison_count=2))
    'p/+c_0, 2 batches'
    """
    base, other = ("c", "p") if settings.base == "clean" else ("p", "c")
    if not settings.poison_count:
        return base
    count = settings.poison_count
    parts = [f"{base}/+{other}_{settings.poison_epoch}, {count} batch{'es' * (count > 1)}"]
    if settings.poison_protocol != "pixel":
        parts.append(f"poison {settings.poison_protocol.replace('_', ' ')}")
    if settings.normalization_control != "none":
        parts.append(f"statistics {settings.normalization_control}")
    if not settings.poison_resample:
        parts.append("the same images in each epoch")
    if settings.poison_mode == "replace":
        parts.append("in place of ordinary ones")
    return ", ".join(parts)


def method_folder(name: str) -> str:
    """The folder of a method's run: its name without characters that a shell would read.

    Example:

    >>> method_folder("sam(rho=0.1)")
    'sam-rho=0.1'
    """
    return re.sub(r"[)' ]", "", name.replace("(", "-"))


def training_steps(settings: Settings, train_examples: int) -> int:
    """Training steps of a run, poisoned batches included."""
    size = min(settings.batch_size, train_examples)
    per_epoch = train_examples // size
    poisoned = max(settings.epochs - settings.poison_epoch, 0) if settings.poison_count else 0
    if not settings.poison_every_epoch:
        poisoned = min(poisoned, 1)
    extra = settings.poison_count if settings.poison_mode == "insert" else 0
    return settings.epochs * per_epoch + poisoned * extra


def seconds_per_step(outcomes: Iterable[Outcome]) -> dict[CostKey, float]:
    """Median seconds of a training step in finished runs of spiking networks.

    Returns:
        Dictionary by what `cost_key` gives.
    """
    found: dict[CostKey, list[float]] = {}
    for outcome in outcomes:
        seconds = outcome.result and outcome.result["seconds_per_step"]
        if seconds and outcome.cell.settings.spiking:
            found.setdefault(cost_key(outcome.cell), []).append(seconds)
    return {key: statistics.median(values) for key, values in found.items()}


def cost_key(cell: Cell) -> CostKey:
    """What the time of a step depends on: data set, model, base, method and time steps."""
    s = cell.settings
    return s.dataset, s.model, s.base, cell.method, s.timesteps


def _trained(cell: Cell, out_dir: str, verbose: str | int, patience: float) -> str | None:
    """Trains a cell; the reason of a failure, in one line."""
    s, folder = cell.settings, cell.folder(out_dir)
    try:
        method = defences.get(cell.method)
        data = _data(s.dataset, s.train_examples, s.test_examples, s.data_dir, s.download)
        train_run(s, method, folder, data, resume=True, verbose=verbose, patience=patience)
    # A framework raises errors of its own where memory gives out.
    except Exception as error:  # noqa: BLE001
        return one_line(error)
    with contextlib.suppress(FileNotFoundError):
        os.remove(os.path.join(folder, FAILURE))
    return None


def _fail(cell: Cell, out_dir: str, reason: str) -> None:
    folder = cell.folder(out_dir)
    os.makedirs(folder, exist_ok=True)
    records.write(os.path.join(folder, FAILURE), {"reason": reason})


def one_line(error: BaseException) -> str:
    """The message of an error in one line, with its kind where it is not a `ValueError`."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if isinstance(error, ValueError) else f"{type(error).__name__}: {text}"


@functools.lru_cache(maxsize=1)
def _data(
    dataset: str, train: int | None, test: int | None, data_dir: str | None, download: bool
) -> sources.Dataset:
    """The data set, kept from one run of a process to the next."""
    settings = Settings(
        dataset=dataset,
        train_examples=train,
        test_examples=test,
        data_dir=data_dir,
        download=download,
    )
    return build.load_data(settings)


def _outcome(cell: Cell, out_dir: str) -> Outcome:
    folder = cell.folder(out_dir)
    about = functools.partial(Outcome, cell=cell, folder=folder)
    try:
        if cell.state(out_dir) == FINISHED:
            _, result = results.finished(folder, results.SHOWN)
            return about(result=result)
        if reason := failure(cell, out_dir):
            return about(reason=reason)
    except ValueError as error:
        return about(reason=one_line(error))
    return about(reason=NOT_TRAINED)
