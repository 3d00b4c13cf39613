"""Lines of tables from synthetic outcomes: means, holes, protocols, and their renderings."""

import csv
import dataclasses
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
    assert first.paper == 90.21 and first.holes == {2: "it diverged"}
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
    assert line.values == () and line.holes == {0: "clean accuracy (%) is not finite"}


def test_a_figure_that_a_kind_of_run_cannot_have_is_no_hole():
    without = outcome(0, 0.0, reason="not trained yet", hessian_examples=0)
    quantities = [line.quantity for line in lines.lines([without], columns.cost())]
    assert quantities == ["seconds per step"]
    watched = outcome(0, 0.0, reason="not trained yet", hessian_examples=4)
    assert len(lines.lines([watched], columns.cost())) == 2


def test_parts_of_a_table_are_joined_by_seed():
    first = lines.lines([outcome(1, 0.7), outcome(0, 0.5, reason="lost")], columns.accuracies())
    again = [outcome(2, 0.9), outcome(0, 0.6), outcome(3, 0.0, reason="it diverged")]
    other = [outcome(0, 0.3, method="stog")]
    second = lines.lines([*again, *other], columns.accuracies())
    joined = lines.joined([first, second])
    assert [line.method for line in joined] == ["dep"] * 3 + ["stog"] * 3
    clean = joined[0]
    assert clean.seeds == (0, 1, 2) and clean.values == (60.0, 70.0, 90.0)
    assert clean.holes == {3: "it diverged"} and clean.mean == pytest.approx(220 / 3)
    # The later part counts for a seed that both have.
    (clean, *_) = lines.joined([first, lines.lines([outcome(1, 0.8)], columns.accuracies())])
    assert clean.values == (80.0,) and clean.holes == {0: "lost"}
    # A run that the later part has, without a figure, is no hole of that figure any more.
    watched = outcome(0, 0.0, reason="lost", hessian_examples=4)
    bare = dataclasses.replace(outcome(0, 0.5), result={**outcome(0, 0.5).result, "hessian": None})
    both = [*columns.accuracies(), *columns.cost()]
    found = lines.joined([lines.lines([watched], both), lines.lines([bare], both)])
    assert [line.quantity for line in found if line.holes] == []
    assert len(found) == 3
    assert lines.joined([first]) == first and lines.joined([]) == []


def test_parts_measured_by_another_protocol_are_not_mixed():
    first = lines.lines([outcome(0, 0.5), outcome(1, 0.0, reason="lost")], columns.accuracies())
    half = [outcome(0, 0.6, precision="mixed_float16"), outcome(1, 0.7, precision="mixed_float16")]
    (clean, *_) = lines.joined([first, lines.lines(half, columns.accuracies())])
    assert clean.seeds == (0,) and clean.values == (50.0,)
    assert clean.protocol.endswith("float32")
    assert clean.holes == {1: "measured by another protocol"}


def test_measurements_that_were_not_asked_for_give_no_line():
    run = outcome(0, 0.5)
    assert lines.lines([run], columns.released()) == []
