"""The studies by name: numbers are those of the paper's tables and figures."""

from collections.abc import Iterable

from keras_dep.studies import collapse
from keras_dep.studies import defences
from keras_dep.studies import growth
from keras_dep.studies import robustness
from keras_dep.studies.curvature import study as curvature
from keras_dep.studies.study import Study

_MODULES = (defences, curvature, collapse, robustness, growth)
STUDIES: dict[str, Study] = {each.STUDY.name: each.STUDY for each in _MODULES}
FIGURES = {figure: study for study in STUDIES.values() for figure in study.figures}


def chosen(tables: Iterable[str], figures: Iterable[str]) -> list[Study]:
    """The studies behind some tables and figures, each once, in their order.

    Example:

    >>> [study.name for study in chosen(["1"], ["2"])]
    ['1', '3']
    """
    wanted = {*tables, *(FIGURES[figure].name for figure in figures)}
    return [study for name, study in STUDIES.items() if name in wanted]
