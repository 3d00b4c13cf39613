"""The studies by the paper's numbers of tables and figures."""

from collections.abc import Iterable

from keras_dep.studies import collapse
from keras_dep.studies import defences
from keras_dep.studies import robustness
from keras_dep.studies.curvature import study as curvature
from keras_dep.studies.study import Study

STUDIES = {
    each.number: each
    for each in (defences.STUDY, curvature.STUDY, collapse.STUDY, robustness.STUDY)
}
FIGURES = {figure: study for study in STUDIES.values() for figure in study.figures}


def chosen(tables: Iterable[int], figures: Iterable[int]) -> list[Study]:
    """The studies behind some tables and figures, each once, in their order.

    Example:

    >>> [study.number for study in chosen([1], [2])]
    [1, 3]
    """
    wanted = {*tables, *(FIGURES[figure].number for figure in figures)}
    return [STUDIES[number] for number in sorted(wanted)]
