"""Table 2: spectral radius and share of the leading eigenvalue, on clean and attacked images."""

import statistics
from collections.abc import Callable
from collections.abc import Sequence

from keras_dep.experiments import grid
from keras_dep.studies import paper_values
from keras_dep.studies.curvature.protocol import KINDS
from keras_dep.studies.curvature.protocol import TRAINING
from keras_dep.studies.lines import Column
from keras_dep.studies.lines import Line
from keras_dep.studies.lines import lines
from keras_dep.studies.measurements import Request
from keras_dep.studies.scale import CLEAN
from keras_dep.studies.scale import Scale
from keras_dep.studies.study import Study

# Of each batch: the figure, in words, and the paper's name of it.
FIGURES = {
    "spectral_radius": ("spectral radius", "lambda_1"),
    "printed_ratio": ("lambda_1 / sum of the top five, signed", "lambda_1_share_of_top_five"),
    "leading_share": ("share of magnitudes of the top five", None),
}
SHOWN = 2


def cells(scale: Scale) -> list[grid.Cell]:
    """Clean training with the methods of every table, and the ANN counterpart."""
    found: list[grid.Cell] = []
    for load in scale.workloads:
        found += [*load.cells(load.core, CLEAN), *load.counterparts(CLEAN)]
    return grid.unique(found)


def requests(scale: Scale) -> list[Request]:
    """The curvature of the baseline, DEP and the ANN counterpart, first seeds."""
    found: list[grid.Cell] = []
    for load in scale.workloads:
        found += load.cells(load.core[:SHOWN], CLEAN, seeds=load.measured)
        found += load.counterparts(CLEAN, seeds=load.measured)
    return [Request(name="curvature", cell=cell) for cell in found]


def table(outcomes: Sequence[grid.Outcome]) -> list[Line]:
    """The figures per kind of images, and where DEP's step leads at the end of training."""
    found = [_column(kind, figure) for kind in KINDS for figure in FIGURES]
    found += [
        _aligned("curvature_along_gradient", "curvature along the gradient"),
        _aligned("curvature_along_step", "curvature along DEP's step"),
        _aligned("cosine", "cosine of removed to sharpest, in magnitude"),
    ]
    return lines(outcomes, found)


def _column(kind: str, figure: str) -> Column:
    words, printed = FIGURES[figure]

    def value(run: grid.Outcome) -> float | None:
        records = run.measured["curvature"]["found"]["spectra"][TRAINING].get(kind)
        return statistics.fmean(record[figure] for record in records) if records else None

    def paper(cell: grid.Cell) -> paper_values.PaperValue | None:
        if printed is None or not cell.settings.spiking:
            return None
        return paper_values.find(
            "table2", cell.settings.dataset, cell.method, "vanilla", kind, quantity=printed
        )

    return Column(
        quantity=f"{words}, {kind}",
        protocol=_protocol,
        value=value,
        paper=paper,
        needs="curvature",
    )


def _protocol(run: grid.Outcome) -> str:
    effort, s = run.measured["curvature"]["effort"], run.cell.settings
    through = f"surrogate {s.surrogate}, " * s.spiking
    return (
        f"Hessian of the mean logits' cross-entropy, {through}mean "
        f"over {effort['batches']} batches of {effort['batch_size']} test images, Lanczos with at "
        f"most {effort['max_steps']} products, float32; deviation over seeds, the paper's over "
        "batches"
    )


def _aligned(name: str, words: str) -> Column:
    value: Callable[[grid.Outcome], float | None] = lambda run: (  # noqa: E731
        run.result["hessian"]["alignment"][name] if run.result and run.result["hessian"] else None
    )
    return Column(
        quantity=words,
        protocol=lambda run: (
            "Hessian of the mean logits' cross-entropy on the first "
            f"{run.cell.settings.hessian_examples} training images, last step"
        ),
        value=value,
        applies=lambda cell: cell.settings.hessian_examples > 0,
    )


STUDY = Study(
    name="2",
    title="Table 2: curvature on clean and attacked images",
    cells=cells,
    requests=requests,
    table=table,
)
