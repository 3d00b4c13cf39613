"""Scales: how large the runs behind the tables are, and how thoroughly they are measured."""

import dataclasses
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from keras_dep.experiments import grid
from keras_dep.studies.curvature.protocol import TRAINING
from keras_dep.studies.curvature.protocol import Protocol

CLEAN: Mapping[str, Any] = {"base": "clean", "poison_count": 0}
ADVERSARIAL: Mapping[str, Any] = {"base": "adversarial", "poison_count": 0}
# At the spiking networks' rate of 0.1 some seeds of it do not learn.
COUNTERPART: Mapping[str, Any] = {"spiking": False, "learning_rate": 0.01}
# Arguments of `Protocol` for what Table 2 shows: no densities, traces or earlier epochs.
SPECTRA: Mapping[str, Any] = {"density_vectors": 0, "trace_products": 0, "epoch_batches": 0}
OWN_SPECTRA: Mapping[str, Any] = {**SPECTRA, "surrogates": (TRAINING,)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Workload:
    """A data set with a network, and the conditions it is trained under.

    Args:
        base: settings that all runs share.
        seeds: seeds of every run.
        core: methods of every table, the baseline first.
        rivals: further methods of Table 1, clean training.
        adversarial_rivals: further methods of Table 1, adversarial training.
        counts: poisoned batches per epoch of `c/+p_0`, by protocol of the poison.
        control_counts: those of `c/+p_0` for the methods of `core` behind the first two, which then
            have none of `p/+c_0`; default: the same as for the first two, in both directions.
        reverse_counts: clean batches per epoch of `p/+c_0`.
        onsets: first poisoned epochs of `c/+p_k` and `p/+c_k` with one batch, beside 0.
        controls: controls of the running statistics, with the largest count of `"released"`.
        fixed_images: also train on the same poison images in every epoch.
        growth: numbers of time steps of the study of growth, the usual one among them.
        side_seeds: seeds, from the first on, of rivals, onsets, controls and fixed images; default:
            all.
        measured: seeds, from the first on, whose networks are measured at length.
        radius: radius of the worst case, in grey levels of 255.
    """

    base: Mapping[str, Any]
    seeds: Sequence[int]
    core: Sequence[str] = ("sgd", "dep", "sam", "random_rank_one")
    rivals: Sequence[str] = ()
    adversarial_rivals: Sequence[str] = ()
    counts: Mapping[str, Sequence[int]] = dataclasses.field(
        default_factory=lambda: {"pixel": (1, 2, 5), "released": (1, 2, 5), "clamp_only": (5,)}
    )
    control_counts: Mapping[str, Sequence[int]] = dataclasses.field(default_factory=dict)
    reverse_counts: Sequence[int] = (1, 2, 5)
    onsets: Sequence[int] = ()
    controls: Sequence[str] = ()
    fixed_images: bool = False
    growth: Sequence[int] = ()
    side_seeds: int | None = None
    measured: int = 3
    radius: int = 8

    def cells(
        self,
        methods: Sequence[str],
        *conditions: Mapping[str, Any],
        seeds: int | None = None,
        side: bool = False,
    ) -> list[grid.Cell]:
        """The runs of some methods under some conditions.

        Args:
            methods: expressions for `keras_dep.defences.get`.
            *conditions: settings beside the base.
            seeds: number of seeds, from the first on; default: all.
            side: take no more than `side_seeds`.
        """
        chosen = self.seeds[:seeds][: self.side_seeds if side else None]
        return grid.product(self.base, methods, chosen, conditions)

    def counterparts(
        self, *conditions: Mapping[str, Any], seeds: int | None = None
    ) -> list[grid.Cell]:
        """The runs of the ANN counterpart under some conditions, by the baseline's method.

        Args:
            *conditions: settings beside the base.
            seeds: as in `cells`.
        """
        found = [{**condition, **COUNTERPART} for condition in conditions]
        return self.cells(self.core[:1], *found, seeds=seeds)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Effort:
    """How thoroughly trained networks are measured.

    Args:
        suite: suite of the worst case, see `keras_dep.evaluation.evaluate`.
        suite_examples: images of it.
        released_examples: images attacked as the released code does.
        curvature: batches, products and images of Table 2.
        checklist: arguments of `keras_dep.evaluation.checklist`.
        checklist_examples: images of it.
        sweep_examples: images of the sweeps.
        epsilons: radii of Figure 3 in grey levels of 255.
        steps: steps of Figure 4.
    """

    suite: str = "reliable"
    suite_examples: int = 64
    released_examples: int = 256
    curvature: Protocol = Protocol(**OWN_SPECTRA, batches=2, batch_size=64, max_steps=40)
    checklist: Mapping[str, Any] = dataclasses.field(
        default_factory=lambda: {"steps": 20, "restarts": 2, "queries": 500, "draws": 500}
    )
    checklist_examples: int = 32
    sweep_examples: int = 128
    epsilons: Sequence[int] = (0, 2, 4, 6, 8, 16, 32, 64, 128)
    steps: Sequence[int] = (7, 10, 15, 20, 30, 40, 50, 60, 70, 80)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scale:
    """What a reproduction trains and measures.

    Args:
        name: its name.
        workloads: the data sets and networks.
        effort: how thoroughly networks are measured.
    """

    name: str
    workloads: Sequence[Workload]
    effort: Effort = Effort()

    def with_data(self, **values: Any) -> "Scale":
        """The scale with values such as `data_dir` in every run."""
        loads = [dataclasses.replace(w, base={**w.base, **values}) for w in self.workloads]
        return dataclasses.replace(self, workloads=loads)

    def by_workload(self) -> list["Scale"]:
        """Scales of one workload each."""
        return [dataclasses.replace(self, workloads=(load,)) for load in self.workloads]


def poisoned(count: int, first: int = 0, **values: Any) -> dict[str, Any]:
    """The condition `c/+p_first` with some batches per epoch."""
    return {"base": "clean", "poison_count": count, "poison_epoch": first, **values}


def rectified(count: int, first: int = 0) -> dict[str, Any]:
    """The condition `p/+c_first` with some batches per epoch."""
    return {"base": "adversarial", "poison_count": count, "poison_epoch": first}


def seedless(cell: grid.Cell) -> grid.Cell:
    """The cell with seed 0: the same for all runs that one mean is taken over."""
    return cell.varied(seed=0)
