"""Table 1: methods of training, on clean and on adversarial images."""

from collections.abc import Sequence

from keras_dep.experiments import grid
from keras_dep.studies import columns
from keras_dep.studies import paper_values
from keras_dep.studies.lines import Line
from keras_dep.studies.lines import lines
from keras_dep.studies.measurements import Request
from keras_dep.studies.paper_values import PaperValue
from keras_dep.studies.scale import ADVERSARIAL
from keras_dep.studies.scale import CLEAN
from keras_dep.studies.scale import Scale
from keras_dep.studies.scale import Workload
from keras_dep.studies.study import Study

TRAINING = {"clean": "vanilla", "adversarial": "adversarial"}


def cells(scale: Scale) -> list[grid.Cell]:
    """Every method under both kinds of training, and the ANN counterpart."""
    return grid.unique(cell for load in scale.workloads for cell in _of(load))


def requests(scale: Scale) -> list[Request]:
    """The released protocol and the worst case of the first seeds; the latter of ANNs too."""
    found = []
    for load in scale.workloads:
        for cell in _of(load, load.measured):
            if cell.settings.spiking:
                found.append(Request(name="released", cell=cell))
            found.append(Request(name="worst_case", cell=cell, radius=load.radius))
    return found


def table(outcomes: Sequence[grid.Outcome]) -> list[Line]:
    """Accuracies beside the paper's, the worst case, the released protocol, radius and time."""
    figures = [*columns.accuracies(_paper), *columns.worst_case(), *columns.released()]
    return lines(outcomes, [*figures, *columns.cost()])


def _of(load: Workload, seeds: int | None = None) -> list[grid.Cell]:
    return [
        *load.cells(load.core, CLEAN, seeds=seeds),
        *load.cells(load.rivals, CLEAN, seeds=seeds, side=True),
        *load.cells(load.core, ADVERSARIAL, seeds=seeds),
        *load.cells(load.adversarial_rivals, ADVERSARIAL, seeds=seeds, side=True),
        *load.counterparts(CLEAN, ADVERSARIAL, seeds=seeds),
    ]


def _paper(cell: grid.Cell, attack: str) -> PaperValue | None:
    if not cell.settings.spiking:
        return None
    training = TRAINING[cell.settings.base]
    return paper_values.find("table1", cell.settings.dataset, cell.method, training, attack)


STUDY = Study(
    name="1",
    title="Table 1: methods, clean and adversarial training",
    cells=cells,
    requests=requests,
    table=table,
)
