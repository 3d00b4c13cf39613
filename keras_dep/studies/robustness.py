"""Table 4, Figures 3 and 4: signs of obfuscated gradients, and accuracy along radius and steps."""

import itertools
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from keras_dep.experiments import grid
from keras_dep.studies import columns
from keras_dep.studies import paper_values
from keras_dep.studies.lines import Column
from keras_dep.studies.lines import Line
from keras_dep.studies.lines import counterpart
from keras_dep.studies.lines import lines
from keras_dep.studies.measurements import Request
from keras_dep.studies.paper_values import PaperValue
from keras_dep.studies.scale import ADVERSARIAL
from keras_dep.studies.scale import CLEAN
from keras_dep.studies.scale import COUNTERPART
from keras_dep.studies.scale import Scale
from keras_dep.studies.scale import Workload
from keras_dep.studies.study import Study

SHOWN = 2
SWEEPS = {"3": "epsilon_sweep", "4": "step_sweep"}


def cells(scale: Scale) -> list[grid.Cell]:
    """The baseline, DEP and the ANN counterpart under both kinds of training."""
    found: list[grid.Cell] = []
    for load in scale.workloads:
        found += load.cells(load.core[:SHOWN], CLEAN, ADVERSARIAL)
        found += load.counterparts(CLEAN, ADVERSARIAL)
    return grid.unique(found)


def requests(scale: Scale) -> list[Request]:
    """Checklist and radii after clean training, steps after both kinds of training.

    Images are transferred from the run of the next seed, and from the ANN counterpart; to the
    counterpart, from the spiking baseline.
    """
    found = []
    for load in scale.workloads:
        following = dict(zip(load.seeds, (*load.seeds[1:], load.seeds[0])))
        for cell in _shown(load, CLEAN):
            sibling = cell.varied(seed=following[cell.settings.seed])
            others = (sibling, _counterpart(load, cell))
            found.append(Request(name="epsilon_sweep", cell=cell, substitutes=others))
            found.append(Request(name="checklist", cell=cell, substitutes=others))
            found.append(Request(name="step_sweep", cell=cell))
        found += [Request(name="step_sweep", cell=cell) for cell in _shown(load, ADVERSARIAL)]
    return found


def table(outcomes: Sequence[grid.Outcome]) -> list[Line]:
    """Signs passed, and the points of both sweeps."""
    signs = {
        row["number"]: row["name"]
        for run in outcomes
        for row in run.measured.get("checklist", {}).get("found", ())
    }
    found = [_passed(number, sign) for number, sign in sorted(signs.items())]
    found += [_point(name, *point) for name in SWEEPS.values() for point in _points(outcomes, name)]
    # A table of holes still says what is missing.
    found += [] if signs else [_passed(0, "any of the list")]
    return lines(outcomes, found)


def figure(outcomes: Sequence[grid.Outcome], name: str) -> Figure:
    """Accuracy along the radius (3) or the steps of PGD (4), the paper's as dotted lines.

    Args:
        outcomes: finished runs and holes.
        name: `"3"` or `"4"`.
    """
    sweep = SWEEPS[name]
    points = _points(outcomes, sweep)
    found = lines(outcomes, [_point(sweep, *point) for point in points])
    datasets = list(dict.fromkeys(line.dataset for line in found))
    drawn = Figure(figsize=(7 * max(len(datasets), 1), 4.8), layout="constrained")
    panels = drawn.subplots(1, max(len(datasets), 1), squeeze=False)[0]
    for axes, dataset in zip(panels, datasets):
        _draw(axes, [line for line in found if line.dataset == dataset], points, name)
        axes.set_title(dataset)
    return drawn


def _shown(load: Workload, condition: Mapping[str, Any]) -> list[grid.Cell]:
    """The networks that are measured under one kind of training."""
    found = load.cells(load.core[:SHOWN], condition, seeds=load.measured)
    return found + load.counterparts(condition, seeds=load.measured)


def _counterpart(load: Workload, cell: grid.Cell) -> grid.Cell:
    """The ANN of the same seed, or of an ANN the spiking baseline."""
    others = load.counterparts(CLEAN) if cell.settings.spiking else load.cells(load.core[:1], CLEAN)
    return next(each for each in others if each.settings.seed == cell.settings.seed)


def _passed(number: int, sign: str) -> Column:
    def value(run: grid.Outcome) -> float | None:
        rows = [row for row in run.measured["checklist"]["found"] if row["number"] == number]
        passed = rows[0]["passed"] if rows else None
        return None if passed is None else 100.0 * passed

    return Column(
        quantity=f"sign {number} absent (% of seeds): {sign}",
        protocol=lambda run: (
            "checklist of obfuscated gradients, 8/255, first "
            f"{run.measured['checklist']['effort']['examples']} test images, 2 substitutes"
        ),
        value=value,
        needs="checklist",
    )


def _points(outcomes: Sequence[grid.Outcome], name: str) -> list[tuple[str, str, float]]:
    """Attack, axis and value of each point of a sweep, in order."""
    axis = "epsilon" if name == "epsilon_sweep" else "steps"
    rows = [row for run in outcomes for row in run.measured.get(name, {}).get("found", ())]
    points = sorted({(row["attack"], row[axis]) for row in rows})
    return [(attack, axis, value) for attack, value in points]


def _point(name: str, attack: str, axis: str, at: float) -> Column:
    transferred = attack.endswith(", transferred")
    where = columns.grey_levels(at) if axis == "epsilon" else f"{at:g} steps"

    def value(run: grid.Outcome) -> float | None:
        for row in run.measured[name]["found"]:
            if (row["attack"], row[axis]) == (attack, at):
                return 100 * row["accuracy"]
        return None

    return Column(
        quantity=f"{attack} at {where}: accuracy (%)",
        protocol=lambda run: (
            f"{'sweep of radii, PGD-7' if axis == 'epsilon' else 'sweep of steps, 8/255'}, on "
            f"pixels, first {run.measured[name]['effort']['examples']} test images, float32"
            + f"; the stronger of another seed's network and the {_other(run.cell)}"
            * transferred
        ),
        value=value,
        paper=_paper(attack, axis, at),
        needs=name,
    )


def _other(cell: grid.Cell) -> str:
    rate = COUNTERPART["learning_rate"]
    return counterpart(rate) if cell.settings.spiking else "spiking network"


def _paper(attack: str, axis: str, at: float) -> Callable[[grid.Cell], PaperValue | None]:
    name, _, transferred = attack.partition(", ")

    def find(cell: grid.Cell) -> PaperValue | None:
        s = cell.settings
        if not s.spiking:
            return None
        if axis == "epsilon":
            access = "black_box" if transferred else "white_box"
            condition = f"epsilon={columns.grey_levels(at)}"
            return paper_values.find("figure3", s.dataset, cell.method, access, name, condition)
        training = "vanilla" if s.base == "clean" else "adversarial"
        condition = f"steps={at:g}"
        return paper_values.find("figure4", s.dataset, cell.method, training, name, condition)

    return find


def _draw(axes, found: Sequence[Line], points, name: str) -> None:
    at = {_point(SWEEPS[name], *point).quantity: point for point in points}
    colours = itertools.cycle(f"C{index}" for index in range(10))
    for key in dict.fromkeys(line.key[1:] for line in found):
        for attack in dict.fromkeys(point[0] for point in points):
            chosen = [
                line
                for line in found
                if line.key[1:] == key and at[line.quantity][0] == attack and line.values
            ]
            if not chosen:
                continue
            colour = next(colours)
            scale = 255 if name == "3" else 1
            x = np.array([scale * at[line.quantity][2] for line in chosen])
            label = f"{', '.join(key)}, {attack} (n={len(chosen[0].values)})"
            spread = [line.deviation or 0 for line in chosen]
            means = [line.mean for line in chosen]
            axes.errorbar(x, means, spread, marker="o", color=colour, capsize=2, label=label)
            paper = [
                (where, line.paper) for where, line in zip(x, chosen) if line.paper is not None
            ]
            if paper:
                axes.plot(*zip(*paper), ":", color=colour)
    if name == "3":
        axes.set_xscale("symlog", base=2, linthresh=2)
    axes.set(
        xlabel="radius in grey levels of 255" if name == "3" else "steps of PGD",
        ylabel="accuracy (%), mean +- deviation; dotted: the paper",
        ylim=(-2, 102),
    )
    axes.grid(alpha=0.25)
    if found:
        axes.legend(fontsize="x-small")


STUDY = Study(
    name="4",
    title="Table 4: signs of obfuscated gradients, and sweeps of radius and steps",
    cells=cells,
    requests=requests,
    table=table,
    figures=("3", "4"),
    figure=figure,
)
