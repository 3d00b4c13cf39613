"""Figures that several tables read from a finished run."""

from collections.abc import Callable

from keras_dep._internal.types import Record
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


def worst_case() -> list[Column]:
    """Accuracy that withstands every attack of the suite, per image, and its interval."""

    def column(words: str, value: Callable[[Record], float]) -> Column:
        return Column(
            quantity=f"worst-case accuracy{words} (%)",
            protocol=lambda run: (
                f"worst case per image of suite {run.measured['worst_case']['effort']['suite']}, "
                f"{run.measured['worst_case']['effort']['radius']}/255 on pixels, first "
                f"{run.measured['worst_case']['found']['clean']['images']} test images, float32; "
                "Wilson's interval by images"
            ),
            value=lambda run: 100 * value(run.measured["worst_case"]["found"]["worst_case"]),
            needs="worst_case",
        )

    return [
        column("", lambda found: found["accuracy"]),
        column(", lower end of the 95 % interval", lambda found: found["interval"][0]),
        column(", upper end of the 95 % interval", lambda found: found["interval"][1]),
    ]


def cost() -> list[Column]:
    """The spectral radius at the end of training, and the seconds of a training step."""
    return [
        Column(
            quantity="spectral radius",
            protocol=lambda run: (
                "largest magnitude of an eigenvalue of the loss' Hessian, last epoch, first "
                f"{run.cell.settings.hessian_examples} test images, through the network's own "
                "surrogate"
            ),
            value=lambda run: ((run.result or {}).get("hessian") or {}).get("spectral_radius"),
            applies=lambda cell: cell.settings.hessian_examples > 0,
        ),
        Column(
            quantity="seconds per step",
            protocol=lambda run: (
                f"mean over training, batch {run.cell.settings.batch_size}, without evaluation; "
                f"{(run.result or {}).get('device')}, other work on it included"
            ),
            value=lambda run: (run.result or {}).get("seconds_per_step"),
        ),
    ]


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
