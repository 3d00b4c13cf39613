"""Lines of tables from synthetic outcomes: means, holes, protocols, and their renderings."""

import csv
import io

import pytest

from keras_dep.experiments import grid
from keras_dep.experiments.settings import Settings
from keras_dep.studies import columns
from keras_dep.studies import lines
from keras_dep.studies import paper_values


def outcome(seed, clean, method="dep", reason=None, **settings):
    cell = grid.Cell(
        settings=Settings(dataset="cifar10", poison_count=0, seed=seed, **settings), method=method
    )
    accuracy = {"clean": clean, "fgsm": 0.2, "pgd": 0.1}
    result = None if reason else {"accuracy": accuracy, "attacked_examples": 8}
    return grid.Outcome(cell=cell, folder="", result=result, reason=reason)


def paper(cell, attack):
    return paper_values.find("table1", "cifar10", cell.method, "vanilla", attack)


@pytest.fixture
def found():
    outcomes = [
        outcome(0, 0.5),
        outcome(1, 0.7),
        outcome(2, 0.0, reason="it diverged"),
        outcome(0, 0.4, method="stog"),
        outcome(0, 0.0, method="sam", reason="no such method"),
    ]
    return lines.lines(outcomes, columns.accuracies(paper))


def test_a_line_is_over_seeds_and_beside_the_paper(found):
    first = found[0]
    assert (first.method, first.condition, first.quantity) == ("dep", "c", "clean accuracy (%)")
    assert first.seeds == (0, 1) and first.values == (50.0, 70.0)
    assert first.mean == 60 and round(first.deviation, 3) == 14.142
    assert first.paper == 90.21 and first.holes == ("it diverged",)
    alone = found[3]
    assert alone.method == "stog" and alone.deviation is None and alone.ours == "40"
    assert lines.from_record(first.as_record()) == first


def test_the_table_shows_n_the_paper_protocols_and_holes(found):
    text = lines.markdown(found, "Table 1")
    row = next(line for line in text.splitlines() if "dep" in line and "clean" in line)
    assert [cell.strip() for cell in row.split("|")[1:-1]] == [
        "cifar10",
        "vgg5",
        "dep",
        "c",
        "clean accuracy (%)",
        "60 +- 14.1",
        "2",
        "90.21",
        "1",
    ]
    assert "1. all test images, last epoch, float32" in text
    assert "PGD, 8/255 on pixels, 7 steps of 0.01" in text
    assert "hole: no such method" in text and "Fewer seeds than planned: it diverged" in text


def test_the_csv_has_every_line(found):
    rows = list(csv.DictReader(io.StringIO(lines.to_csv(found))))
    assert len(rows) == len(found) == 9
    assert rows[0]["values"] == "50.0 70.0" and rows[0]["n"] == "2"
    assert rows[0]["paper"] == "90.21" and rows[-1]["mean"] == ""


def test_a_figure_that_is_not_finite_is_a_hole():
    (line, *_) = lines.lines([outcome(0, float("nan"))], columns.accuracies())
    assert line.values == () and line.holes == ("clean accuracy (%) is not finite",)


def test_measurements_that_were_not_asked_for_give_no_line():
    run = outcome(0, 0.5)
    assert lines.lines([run], columns.released()) == []
