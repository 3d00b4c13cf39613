"""Table 3, Figures 1 and 2: what poisoned batches do, by their number, first epoch and making."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from keras_dep.experiments import grid
from keras_dep.studies import columns
from keras_dep.studies import paper_values
from keras_dep.studies.lines import CORRECT
from keras_dep.studies.lines import RELEASED
from keras_dep.studies.lines import Column
from keras_dep.studies.lines import Line
from keras_dep.studies.lines import lines
from keras_dep.studies.measurements import Request
from keras_dep.studies.paper_values import PaperValue
from keras_dep.studies.scale import ADVERSARIAL
from keras_dep.studies.scale import CLEAN
from keras_dep.studies.scale import Scale
from keras_dep.studies.scale import Workload
from keras_dep.studies.scale import poisoned
from keras_dep.studies.scale import rectified
from keras_dep.studies.study import Study

SHOWN = ("sgd", "dep")


def cells(scale: Scale) -> list[grid.Cell]:
    """Counts 0 and more in both directions, protocols of the poison, first epochs, controls."""
    return grid.unique(cell for load in scale.workloads for cell in _of(load))


def requests(scale: Scale) -> list[Request]:
    """Nothing beside the results of the runs."""
    return []


def table(outcomes: Sequence[grid.Outcome]) -> list[Line]:
    """Accuracies at the end, the worst one right behind poison, and the share of collapses."""
    behind = [
        Column(
            quantity="worst clean accuracy behind poison (%)",
            protocol=_watched,
            value=lambda run: _percent(run.result["worst_after_poison"]) if run.result else None,
            semantics=_semantics,
            applies=_is_poisoned,
        ),
        Column(
            quantity="poisoned batches that collapsed it (%)",
            protocol=lambda run: (
                f"{_watched(run)}; half of what was learnt is lost, or the loss is not finite"
            ),
            value=_collapsed,
            semantics=_semantics,
            applies=_is_poisoned,
        ),
    ]
    return lines(outcomes, [*columns.accuracies(_paper, _semantics), *behind])


def figure(outcomes: Sequence[grid.Outcome], name: str) -> Figure:
    """Clean test accuracy along training: by count (1), or by first poisoned epoch (2).

    Args:
        outcomes: finished runs and holes.
        name: `"1"` or `"2"`.
    """
    finished = [run for run in outcomes if run.result and run.cell.method in SHOWN]
    chosen = [run for run in finished if _belongs(run.cell.settings, name)]
    groups = list(dict.fromkeys((r.cell.settings.dataset, r.cell.settings.base) for r in chosen))
    drawn = Figure(figsize=(6.5 * max(len(groups), 1), 4.5), layout="constrained")
    panels = drawn.subplots(1, max(len(groups), 1), squeeze=False)[0]
    for axes, (dataset, base) in zip(panels, groups):
        here = [
            run
            for run in chosen
            if (run.cell.settings.dataset, run.cell.settings.base) == (dataset, base)
        ]
        _curves(axes, here)
        axes.set(title=f"{dataset}, {'c/+p' if base == 'clean' else 'p/+c'}", xlabel="epoch")
        axes.set(ylabel="clean test accuracy (%)", ylim=(0, 102))
        axes.grid(alpha=0.25)
        axes.legend(fontsize="x-small")
    return drawn


def _of(load: Workload) -> list[grid.Cell]:
    main, others = load.core[:2], load.core[2:]
    counted = _counted(load.counts)
    reverse = [rectified(count) for count in load.reverse_counts]
    found = load.cells(load.core, CLEAN)
    found += load.cells(load.core, ADVERSARIAL)
    found += load.cells(main, *counted)
    found += load.cells(others, *_counted(load.control_counts or load.counts))
    found += load.cells(main if load.control_counts else load.core, *reverse)
    found += load.counterparts(CLEAN, ADVERSARIAL, *counted, *reverse)
    side = [how for first in load.onsets for how in (poisoned(1, first), rectified(1, first))]
    worst = max(load.counts.get("released", ()), default=0)
    if worst:
        condition = poisoned(worst, poison_protocol="released")
        side += [{**condition, "normalization_control": control} for control in load.controls]
        side += [{**condition, "poison_resample": False}] if load.fixed_images else []
    return found + load.cells(main, *side, side=True)


def _counted(counts: Mapping[str, Sequence[int]]) -> list[dict[str, Any]]:
    return [
        poisoned(count, poison_protocol=protocol)
        for protocol, several in counts.items()
        for count in several
    ]


def _paper(cell: grid.Cell, attack: str) -> PaperValue | None:
    s = cell.settings
    if s.poison_epoch or not _as_in_the_paper(s):
        return None
    training = "c/+p_0" if s.base == "clean" else "p/+c_0"
    condition = f"count={s.poison_count}"
    return paper_values.find("table3", s.dataset, cell.method, training, attack, condition)


def _as_in_the_paper(settings) -> bool:
    """Whether it is a spiking network without one of the controls."""
    no_control = settings.normalization_control == "none"
    return settings.spiking and no_control and settings.poison_protocol != "clamp_only"


def _semantics(cell: grid.Cell) -> str:
    return CORRECT if cell.settings.poison_protocol == "pixel" else RELEASED


def _is_poisoned(cell: grid.Cell) -> bool:
    return cell.settings.poison_count > 0


def _watched(run: grid.Outcome) -> str:
    count = run.cell.settings.watch_examples
    return f"first {count} test images right behind each poisoned batch"


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _collapsed(run: grid.Outcome) -> float | None:
    events = run.result["collapse"] if run.result else []
    return 100 * float(np.mean([event["collapsed"] for event in events])) if events else None


def _belongs(settings, name: str) -> bool:
    if not (_as_in_the_paper(settings) and settings.poison_resample):
        return False
    if name == "1":
        return settings.poison_epoch == 0
    return settings.poison_protocol == "pixel" and settings.poison_count <= 1


def _curves(axes, runs: Sequence[grid.Outcome]) -> None:
    """Mean over seeds, one curve per method and condition."""
    groups: dict[str, list[grid.Outcome]] = {}
    for run in runs:
        name = f"{run.cell.method}, {grid.condition(run.cell.settings)}"
        groups.setdefault(name, []).append(run)
    for name, members in groups.items():
        curves = [run.result["history"]["val_accuracy"] for run in members if run.result]
        mean = 100 * np.mean(curves, axis=0)
        style = "-" if name.startswith("dep") else "--"
        axes.plot(np.arange(1, len(mean) + 1), mean, style, label=f"{name} (n={len(curves)})")


STUDY = Study(
    name="3",
    title="Table 3: poisoned batches by number, making and controls",
    cells=cells,
    requests=requests,
    table=table,
    figures=("1", "2"),
    figure=figure,
)
