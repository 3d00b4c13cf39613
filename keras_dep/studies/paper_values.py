"""The figures that the paper prints, from `paper-values.csv` beside this file."""

import csv
import dataclasses
import functools
import importlib.resources

FILE = "paper-values.csv"
# Names of methods here, and in the paper's tables.
METHODS = {"sgd": "snn", **{name: name for name in ("dep", "stog", "dlif", "hosnn", "feel")}}

_WORDS = ("source", "dataset", "method", "training", "attack", "condition", "quantity")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PaperValue:
    """One printed figure.

    Args:
        source: `"table1"` to `"table3"`, `"figure3"` or `"figure4"`.
        dataset: data set, as in `keras_dep.data.load`.
        method: as the paper names it, in small letters.
        training: kind of training, or of access in Figure 3.
        attack: `"clean"`, `"fgsm"` or `"pgd"`.
        condition: what else decides it, such as `"epsilon=8/255"`, or `""`.
        quantity: what the figure is of.
        value: the figure.
        deviation: the deviation printed beside it, or `None`.
    """

    source: str
    dataset: str
    method: str
    training: str
    attack: str
    condition: str
    quantity: str
    value: float
    deviation: float | None


@functools.cache
def read() -> tuple[PaperValue, ...]:
    """All figures, in the order of the file.

    Example:

    >>> len(read())
    568
    """
    text = importlib.resources.files(__package__).joinpath(FILE).read_text()
    found = []
    for row in csv.DictReader(text.splitlines()):
        words = {name: row[name] for name in _WORDS}
        deviation = float(row["deviation"]) if row["deviation"] else None
        found.append(PaperValue(**words, value=float(row["value"]), deviation=deviation))
    return tuple(found)


def find(
    source: str,
    dataset: str,
    method: str,
    training: str,
    attack: str,
    condition: str = "",
    quantity: str = "accuracy_percent",
) -> PaperValue | None:
    """The figure for one of our runs, or `None` where the paper prints none.

    Args:
        source: as in `PaperValue`.
        dataset: data set.
        method: expression for `keras_dep.defences.get`.
        training: kind of training.
        attack: attack.
        condition: what else decides it.
        quantity: what the figure is of.

    Example:

    >>> find("table1", "cifar10", "sgd", "vanilla", "fgsm").value
    8.19
    """
    wanted = (source, dataset, METHODS.get(method), training, attack, condition, quantity)
    return _by_key().get(wanted)


@functools.cache
def _by_key():
    found = {}
    for each in read():
        *key, _, _ = dataclasses.astuple(each)
        found[tuple(key)] = each
    return found
