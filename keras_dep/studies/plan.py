"""A plan: the runs and measurements behind some studies, each once."""

import dataclasses
import os
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence

from keras_dep.experiments import grid
from keras_dep.experiments import progress
from keras_dep.experiments.engines import Engine
from keras_dep.experiments.engines import Task
from keras_dep.studies import cost
from keras_dep.studies import forecast
from keras_dep.studies import measurements
from keras_dep.studies.measurements import Request
from keras_dep.studies.scale import Scale
from keras_dep.studies.shards import Shard
from keras_dep.studies.study import Study

# The table of all runs, in the folder of the results.
PROGRESS = "progress"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """The runs and measurements of some studies, and their folder.

    Args:
        cells: the runs.
        requests: the measurements.
        scale: their scale.
        out_dir: folder of all runs.
        data_dir: TFDS folder; default: the user's.
        shard: the part of all runs that these are, or `None`.
    """

    cells: Sequence[grid.Cell]
    requests: Sequence[Request]
    scale: Scale
    out_dir: str
    data_dir: str | None = None
    shard: Shard | None = None

    def tasks(self, verbose: str | int = 0, patience: float = 0.0) -> list[Task]:
        """The missing runs and measurements as tasks for an engine; runs come first.

        Args:
            verbose: as in `keras.Model.fit`.
            patience: seconds to wait for what another process trains or measures.
        """
        possible, _ = self._possible()
        return [
            *grid.tasks(self.cells, self.out_dir, verbose, patience),
            *measurements.tasks(possible, self.scale.effort, self.out_dir, self.data_dir, patience),
        ]

    def carry_out(
        self,
        engine: Engine,
        report: Callable[[str], None] = lambda line: None,
        verbose: str | int = 0,
    ) -> dict[tuple[str, ...], str]:
        """Carries out the missing runs and measurements, and keeps a table of all runs in a file.

        Args:
            engine: trains and measures.
            report: called with a line about a run or a measurement.
            verbose: as in `keras.Model.fit`.

        Returns:
            The reasons of failed runs by fingerprint, and of failed measurements by fingerprint
            and name.
        """
        tasks = self.tasks(verbose, engine.patience)
        reasons = engine.carry_out(tasks, report, self._write_progress) if tasks else {}
        if tasks:
            self._write_progress()
        if waiting := self._possible()[1]:
            report(
                f"{waiting} measurements wait for runs of other shards: run this shard again when "
                "those are finished, or the command without --shard."
            )
        return reasons

    def text(self, thorough: bool = False, machines: Sequence[int] = ()) -> str:
        """The finished part, and the expected cost of the rest on this machine.

        Args:
            thorough: try a few steps of each method, instead of inferring its time from another.
            machines: numbers of machines to forecast the wall-clock time for.
        """
        outcomes = grid.collect(self.cells, self.out_dir)
        effort = self.scale.effort
        found = cost.estimate(outcomes, self.requests, effort, self.out_dir, thorough)
        part = "" if self.shard is None else f", shard {self.shard.name}"
        lines = [f"scale {self.scale.name}{part} in {self.out_dir}"]
        lines.append("| data | training | methods | runs | finished | minutes left |")
        lines.append("|---|---|---|---:|---:|---:|")
        lines += [f"| {' | '.join(row)} |" for row in found.rows()]
        lines.append(
            f"{found.finished} of {len(outcomes)} runs are finished, and {found.measured} of "
            f"{len(self.requests)} measurements. Left: {forecast.duration(found.training)} of "
            f"training, {forecast.duration(found.measuring)} of measurement ({found.basis})."
        )
        if machines and found.seconds:
            lines.append(forecast.markdown(self.tasks(), found.seconds, machines, found.memory))
        return "\n".join(lines)

    def _possible(self) -> tuple[list[Request], int]:
        """The measurements whose runs are planned here or finished, and the number of others."""
        planned = {cell.fingerprint for cell in self.cells}
        there = [
            request
            for request in self.requests
            if all(
                cell.fingerprint in planned or cell.state(self.out_dir) == grid.FINISHED
                for cell in request.substitutes
            )
        ]
        return there, len(self.requests) - len(there)

    def _write_progress(self) -> None:
        part = "" if self.shard is None else f"-{self.shard.name}"
        progress.write(os.path.join(self.out_dir, f"{PROGRESS}{part}.md"), self.cells, self.out_dir)


def plan(
    studies: Iterable[Study],
    scale: Scale,
    out_dir: str,
    data_dir: str | None = None,
    shard: Shard | None = None,
) -> Plan:
    """The plan of some studies.

    Args:
        studies: what the runs are for.
        scale: how large they are.
        out_dir: folder of all runs.
        data_dir: TFDS folder; default: the user's.
        shard: the part of all runs to plan; default: all.

    Example:

    >>> import tempfile
    >>> from keras_dep.studies import catalogue
    >>> from keras_dep.studies import scales
    >>> found = plan(catalogue.chosen(["2"], []), scales.find("smoke"), tempfile.mkdtemp())
    >>> len(found.cells), len(found.requests), len(found.tasks())
    (6, 6, 12)
    """
    studies = list(studies)
    cells = grid.unique(cell for study in studies for cell in study.cells(scale))
    asked = [request for study in studies for request in study.requests(scale)]
    requests = list({measurements.key_of(each): each for each in asked}.values())
    if shard is not None:
        cells = shard.of(cells)
        chosen = {cell.fingerprint for cell in cells}
        requests = [each for each in requests if each.cell.fingerprint in chosen]
    return Plan(
        cells=cells,
        requests=requests,
        scale=scale,
        out_dir=out_dir,
        data_dir=data_dir,
        shard=shard,
    )
