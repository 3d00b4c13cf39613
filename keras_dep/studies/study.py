"""A study: which runs and measurements a table needs, and the outcomes that it is made from."""

import dataclasses
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence

from matplotlib.figure import Figure

from keras_dep.experiments import grid
from keras_dep.studies import measurements
from keras_dep.studies.lines import Line
from keras_dep.studies.lines import key_of
from keras_dep.studies.measurements import Request
from keras_dep.studies.scale import Effort
from keras_dep.studies.scale import Scale

NOT_MEASURED = "not measured yet"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study:
    """A table of the paper and the figures that go with it.

    Args:
        name: the paper's number of the table, or a word for a table that the paper has not.
        title: what it shows.
        figures: names of the figures.
        cells: function of a `Scale`: the runs.
        requests: function of a `Scale`: what is measured of trained networks beside.
        table: function of finished outcomes and holes: the lines of the table.
        key: function of a run: data set, network, method and condition of its lines.
        figure: function of the outcomes and the name of a figure: the figure.
    """

    name: str
    title: str
    cells: Callable[[Scale], list[grid.Cell]]
    requests: Callable[[Scale], list[Request]]
    table: Callable[[Sequence[grid.Outcome]], list[Line]]
    key: Callable[[grid.Cell], tuple[str, str, str, str]] = key_of
    figures: Sequence[str] = ()
    figure: Callable[[Sequence[grid.Outcome], str], Figure] | None = None

    def outcomes(
        self,
        scale: Scale,
        out_dir: str,
        reasons: Mapping[tuple[str, str], str] | None = None,
    ) -> list[grid.Outcome]:
        """What has become of the runs, with what was measured of them.

        Args:
            scale: the scale.
            out_dir: folder of all runs.
            reasons: why measurements failed, as `keras_dep.studies.plan.Plan.carry_out` gives it.
        """
        found = grid.collect(self.cells(scale), out_dir)
        return attach(found, self.requests(scale), scale.effort, out_dir, reasons or {})

    def completing(self, found: Iterable[Line]) -> "Study":
        """The part of the study that fills the holes of a table.

        Args:
            found: lines of the table.

        Returns:
            A study of the runs whose seeds are holes or have no line yet, those that they need,
            and all measurements of them; without those whose network cannot have the figure.
        """
        found = list(found)
        known = {(line.key, seed) for line in found for seed in (*line.seeds, *line.holes)}
        holes = {
            (line.key, seed)
            for line in found
            for seed, reason in line.holes.items()
            if reason not in measurements.LASTING
        }

        def part(scale: Scale) -> tuple[list[grid.Cell], list[Request]]:
            shown = {(self.key(cell), cell.settings.seed) for cell in self._shown(scale)}
            lacking = holes & shown | shown - known
            cells = self.cells(scale)
            wanted = [cell for cell in cells if (self.key(cell), cell.settings.seed) in lacking]
            asked = {cell.fingerprint for cell in wanted}
            requests = [each for each in self.requests(scale) if each.cell.fingerprint in asked]
            needed = [cell.varied(method=name) for cell in wanted for name in grid.needs(cell)]
            others = [cell for each in requests for cell in each.substitutes]
            return grid.unique([*needed, *wanted, *others]), requests

        return dataclasses.replace(
            self, cells=lambda scale: part(scale)[0], requests=lambda scale: part(scale)[1]
        )

    def _shown(self, scale: Scale) -> list[grid.Cell]:
        """The runs that give lines; others are there for measurements of these."""
        empty = [grid.Outcome(cell=c, folder="", reason=NOT_MEASURED) for c in self.cells(scale)]
        outcomes = attach(empty, self.requests(scale), scale.effort, "", {})
        return [each.cell for each in outcomes if self.table([each])]


def attach(
    outcomes: Iterable[grid.Outcome],
    requests: Iterable[Request],
    effort: Effort,
    out_dir: str,
    reasons: Mapping[tuple[str, str], str],
) -> list[grid.Outcome]:
    """Outcomes with their measurements: by name, a record with `found`, or with a `reason`."""
    asked: dict[str, list[Request]] = {}
    for request in requests:
        asked.setdefault(request.cell.fingerprint, []).append(request)
    return [
        dataclasses.replace(
            outcome,
            measured={
                request.name: _measured(request, outcome, effort, out_dir, reasons)
                for request in asked.get(outcome.cell.fingerprint, ())
            },
        )
        for outcome in outcomes
    ]


def _measured(request, outcome, effort, out_dir, reasons):
    if outcome.result is None:
        return {"reason": outcome.reason}
    try:
        record = measurements.read(request, effort, out_dir)
    except ValueError as error:
        return {"reason": grid.one_line(error)}
    missing = reasons.get((outcome.cell.fingerprint, request.name), NOT_MEASURED)
    return record or {"reason": missing}
