"""Figures that several tables read from a finished run."""

from collections.abc import Callable

from keras_dep.experiments import grid
from keras_dep.studies.lines import RELEASED
from keras_dep.studies.lines import Column
from keras_dep.studies.paper_values import PaperValue

Paper = Callable[[grid.Cell, str], PaperValue | None]


def accuracies(
    paper: Paper = lambda cell, attack: None,
    semantics: Callable[[grid.Cell], str] = lambda cell: "correct",
) -> list[Column]:
    """Clean, FGSM and PGD accuracy of `result.json`, in percent.

    Args:
        paper: function of the cell and `"clean"`, `"fgsm"` or `"pgd"`.
        semantics: function of the cell.

    Example:

    >>> [column.quantity for column in accuracies()]
    ['clean accuracy (%)', 'FGSM accuracy (%)', 'PGD accuracy (%)']
    """

    def column(attack: str, words: str) -> Column:
        return Column(
            quantity=f"{words} accuracy (%)",
            protocol=lambda run: _protocol(run, attack),
            value=lambda run: 100 * run.result["accuracy"][attack] if run.result else None,
            paper=lambda cell: paper(cell, attack),
            semantics=semantics,
        )

    return [column("clean", "clean"), column("fgsm", "FGSM"), column("pgd", "PGD")]


def released() -> list[Column]:
    """FGSM and PGD accuracy as the paper's released code counts it, and its clamp alone."""

    def column(kind: str, attack: str, words: str) -> Column:
        return Column(
            quantity=f"{words} (%)",
            protocol=lambda run: (
                f"{words}: normalised space, clamped to [0, 1] there, one time step; "
                f"{run.measured['released']['effort']['examples']} test images at most, float32"
            ),
            value=lambda run: _released(run, kind, attack),
            semantics=lambda cell: RELEASED,
            needs="released",
        )

    return [
        column("released", "fgsm", "released code's FGSM accuracy"),
        column("released", "pgd-7", "released code's PGD accuracy"),
        column("clamp alone", "none", "accuracy behind the released clamp alone"),
    ]


def worst_case() -> Column:
    """Accuracy that withstands every attack of the suite, per image."""
    return Column(
        quantity="worst-case accuracy (%)",
        protocol=lambda run: (
            f"worst case per image of suite {run.measured['worst_case']['effort']['suite']}, "
            f"{run.measured['worst_case']['effort']['radius']}/255 on pixels, first "
            f"{run.measured['worst_case']['found']['clean']['images']} test images, float32"
        ),
        value=lambda run: 100 * run.measured["worst_case"]["found"]["worst_case"]["accuracy"],
        needs="worst_case",
    )


def grey_levels(epsilon: float) -> str:
    """A radius of pixels as grey levels.

    Example:

    >>> grey_levels(8 / 255)
    '8/255'
    """
    return f"{255 * epsilon:.4g}/255"


def _protocol(run: grid.Outcome, attack: str) -> str:
    s, radius = run.cell.settings, grey_levels(run.cell.settings.eval_epsilon)
    count = run.result["attacked_examples"] if run.result else 0
    if attack == "clean":
        return f"all test images, last epoch, {s.precision}"
    if attack == "fgsm":
        return f"FGSM, {radius} on pixels, first {count} test images, {s.precision}"
    return (
        f"PGD, {radius} on pixels, {s.eval_steps} steps of {s.eval_step_size:g}, "
        f"{s.eval_restarts} start, first {count} test images, {s.precision}"
    )


def _released(run: grid.Outcome, kind: str, attack: str) -> float | None:
    rows = run.measured["released"]["found"]
    found = [row for row in rows if (row["protocol"], row["attack"]) == (kind, attack)]
    return 100 * found[0]["accuracy"] if found else None
