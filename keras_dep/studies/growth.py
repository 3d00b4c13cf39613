"""Growth of the spectral radius with the number of time steps, beyond the paper's tables."""

import dataclasses
import itertools
import math
from collections.abc import Iterable
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from keras_dep.experiments import grid
from keras_dep.studies import lines as table_lines
from keras_dep.studies.lines import Column
from keras_dep.studies.lines import Line
from keras_dep.studies.lines import lines
from keras_dep.studies.measurements import Request
from keras_dep.studies.scale import CLEAN
from keras_dep.studies.scale import Scale
from keras_dep.studies.scale import Workload
from keras_dep.studies.study import Study

BPTT = "c, BPTT, direct coding"
TRAINED = "trained at each T"
EXPONENT = "exponent of the radius in T"
_CODINGS = ("direct", "rate")


def same_weights(timesteps: int) -> str:
    """The control with one set of weights, in words.

    Example:

    >>> same_weights(4)
    'weights of T 4'
    """
    return f"weights of T {timesteps}"


def cells(scale: Scale) -> list[grid.Cell]:
    """Plain training by coding, gradient through time and number of steps, and ANN counterparts."""
    found: list[grid.Cell] = []
    for load in scale.workloads:
        if load.growth:
            found += _spiking(load)
            found += load.counterparts(CLEAN, seeds=load.measured)
    return grid.unique(found)


def requests(scale: Scale) -> list[Request]:
    """The radius of each network; those of the usual number of steps also at every other."""
    found = []
    for load in scale.workloads:
        usual = load.cells(load.core[:1], CLEAN)[0].settings.timesteps
        for cell in cells(dataclasses.replace(scale, workloads=(load,))):
            own = cell.settings.timesteps
            swept = cell.settings.spiking and own == usual
            steps = tuple(sorted({own, *load.growth})) if swept else (own,)
            found.append(Request(name="growth", cell=cell, timesteps=steps))
    return found


def table(outcomes: Sequence[grid.Outcome]) -> list[Line]:
    """The radius by number of steps, trained at each and with one set of weights, and exponents."""
    found: list[Line] = []
    groups: dict[tuple[str, ...], list[grid.Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(key_of(outcome.cell), []).append(outcome)
    for (*_, condition), members in groups.items():
        spiking = members[0].cell.settings.spiking
        made = _of_group(members) if spiking else lines(members, [_column(None, "")])
        found += [dataclasses.replace(line, condition=condition) for line in made]
    return found


def key_of(cell: grid.Cell) -> tuple[str, str, str, str]:
    """As `keras_dep.studies.lines.key_of`, with gradient and coding in the condition."""
    dataset, network, method, _ = table_lines.key_of(cell)
    return dataset, network, method, how(cell)


def figure(outcomes: Sequence[grid.Outcome], name: str) -> Figure:
    """The radius along the number of steps, both axes logarithmic.

    Args:
        outcomes: finished runs and holes.
        name: `"growth"`.
    """
    found = [line for line in table(outcomes) if line.values and "at T " in line.quantity]
    datasets = list(dict.fromkeys(line.dataset for line in found))
    drawn = Figure(figsize=(7 * max(len(datasets), 1), 4.8), layout="constrained")
    panels = drawn.subplots(1, max(len(datasets), 1), squeeze=False)[0]
    for axes, dataset in zip(panels, datasets):
        here = [line for line in found if line.dataset == dataset]
        colours = itertools.cycle(f"C{index}" for index in range(10))
        for condition in dict.fromkeys(line.condition for line in here):
            colour = next(colours)
            for kind in dict.fromkeys(_kind(line) for line in here):
                members = [
                    each for each in here if (each.condition, _kind(each)) == (condition, kind)
                ]
                if not members:
                    continue
                style = "-" if kind == TRAINED else ":"
                steps = [_steps(line) for line in members]
                means = [line.mean for line in members]
                spread = [line.deviation or 0 for line in members]
                label = f"{condition}, {kind} (n={len(members[0].values)})"
                axes.errorbar(
                    steps, means, spread, ls=style, marker="o", color=colour, capsize=2, label=label
                )
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set(title=dataset, xlabel="time steps T", ylabel="spectral radius, mean +- deviation")
        axes.grid(alpha=0.25)
        if here:
            axes.legend(fontsize="x-small")
    return drawn


def how(cell: grid.Cell) -> str:
    """Kind of training, gradient through time and coding of a cell, in words.

    Example:

    >>> from keras_dep.experiments.settings import Settings
    >>> how(grid.Cell(settings=Settings(poison_count=0, detach_membrane=True)))
    'c, detached membrane, direct coding'
    """
    s = cell.settings
    if not s.spiking:
        return grid.condition(s)
    gradient = "detached membrane" if s.detach_membrane else "BPTT"
    return f"{grid.condition(s)}, {gradient}, {s.encoder} coding"


def exponent(radii: dict[int, float]) -> float:
    """The slope of log radius over log T by least squares: 1 for linear growth.

    Args:
        radii: radius by number of steps, two or more.

    Returns:
        The slope; NaN where a radius is not positive.

    Example:

    >>> round(exponent({1: 3.0, 2: 6.0, 4: 12.0}), 6)
    1.0
    """
    steps, values = np.array(list(radii)), np.array(list(radii.values()))
    if not np.all(values > 0):
        return math.nan
    return float(np.polyfit(np.log(steps), np.log(values), 1)[0])


def _spiking(load: Workload) -> list[grid.Cell]:
    conditions = [
        {**CLEAN, "encoder": coding, "detach_membrane": detached, "timesteps": steps}
        for coding in _CODINGS
        for detached in (False, True)
        for steps in load.growth
        # A single step has no gradient through time to cut.
        if not (detached and steps == 1)
    ]
    return load.cells(load.core[:1], *conditions, seeds=load.measured)


def _of_group(members: Sequence[grid.Outcome]) -> list[Line]:
    """The lines of one coding and gradient, each for the runs that were asked for it."""
    kinds: dict[str, list[tuple[int, Line]]] = {}
    by_steps: dict[int, list[grid.Outcome]] = {}
    for run in members:
        by_steps.setdefault(run.cell.settings.timesteps, []).append(run)
    for own, runs in by_steps.items():
        kinds.setdefault(TRAINED, []).extend(
            (own, line) for line in lines(runs, [_column(own, TRAINED)])
        )
        swept = {step for run in runs for step in _asked(run)}
        if len(swept) > 1:
            kind = same_weights(own)
            for step in sorted(swept):
                made = lines(runs, [_column(step, kind)])
                kinds.setdefault(kind, []).extend((step, line) for line in made)
    found: list[Line] = []
    for kind, several in kinds.items():
        ordered = sorted(several, key=lambda each: each[0])
        found += [line for _, line in ordered]
        if len(ordered) > 1:
            found.append(_exponents(kind, ordered))
    return found


def _asked(run: grid.Outcome) -> Iterable[int]:
    return run.measured.get("growth", {}).get("effort", {}).get("timesteps", ())


def _column(steps: int | None, kind: str) -> Column:
    def value(run: grid.Outcome) -> float | None:
        at = run.cell.settings.timesteps if steps is None else steps
        return run.measured["growth"]["found"]["radius"].get(str(at))

    return Column(
        quantity="spectral radius" if steps is None else f"spectral radius at T {steps}, {kind}",
        protocol=lambda run: (
            "Hessian of the mean logits' cross-entropy through the network's own gradient, on the "
            f"first {run.measured['growth']['effort']['examples']} test images, Lanczos, float32"
            + "; one draw of the spikes"
            * (run.cell.settings.encoder == "rate")
        ),
        value=value,
        needs="growth",
    )


def _exponents(kind: str, ordered: Sequence[tuple[int, Line]]) -> Line:
    """The exponents of the seeds that every number of steps has."""
    by_steps = {step: dict(zip(line.seeds, line.values)) for step, line in ordered}
    first = ordered[0][1]
    shared = [seed for seed in first.seeds if all(seed in each for each in by_steps.values())]
    values = [exponent({step: each[seed] for step, each in by_steps.items()}) for seed in shared]
    holes = {seed: reason for _, line in ordered for seed, reason in line.holes.items()}
    # As in other columns, what is not finite is a hole with its reason.
    finite = [(seed, value) for seed, value in zip(shared, values) if math.isfinite(value)]
    holes |= {
        seed: f"{EXPONENT} is not finite"
        for seed, value in zip(shared, values)
        if not math.isfinite(value)
    }
    steps = ", ".join(map(str, by_steps))
    return dataclasses.replace(
        first,
        quantity=f"{EXPONENT}, {kind}",
        protocol=f"slope of log radius over log T by least squares, T {steps}; 1 is linear growth",
        seeds=tuple(seed for seed, _ in finite),
        values=tuple(value for _, value in finite),
        holes=holes,
    )


def _kind(line: Line) -> str:
    return line.quantity.partition(", ")[2]


def _steps(line: Line) -> int:
    return int(line.quantity.partition(" at T ")[2].partition(",")[0])


STUDY = Study(
    name="growth",
    title="Growth of the spectral radius with the time steps",
    cells=cells,
    requests=requests,
    table=table,
    key=key_of,
    figures=("growth",),
    figure=figure,
)
