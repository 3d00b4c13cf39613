"""Sweeps against single measurements; tables and figures that hold what was measured."""

import csv
import io
import re

import numpy as np
import pytest

from keras_dep import evaluate
from keras_dep.attacks import FGSM
from keras_dep.attacks import PGD
from keras_dep.attacks import GaussianNoise
from keras_dep.evaluation import draw_sweep
from keras_dep.evaluation import epsilon_sweep
from keras_dep.evaluation import report
from keras_dep.evaluation import robust_accuracy
from keras_dep.evaluation import step_sweep
from keras_dep.evaluation import sweeps


@pytest.fixture(scope="module")
def rows(honest, held_out):
    return epsilon_sweep(
        honest, *held_out, epsilons=(0, 0.05, 0.5), steps=4, substitutes=[honest], batch_size=40
    )


def test_epsilon_sweep(rows, honest, held_out):
    curves = {}
    for row in rows:
        curves.setdefault(row["attack"], []).append(row["accuracy"])
    clean = robust_accuracy(honest, FGSM(epsilon=0), *held_out, batch_size=40)["accuracy"]
    for name in ("fgsm", "pgd", "fgsm, transferred", "pgd, transferred"):
        assert curves[name][0] == clean and len(curves[name]) == 3
    # The substitute is the model itself.
    assert curves["fgsm"] == curves["fgsm, transferred"]
    assert curves["pgd"][2] < curves["pgd"][1] < curves["pgd"][0]
    attack = PGD(epsilon=0.05, step_size=2.5 * 0.05 / 4, steps=4)
    assert rows[5] == {
        "attack": "pgd",
        "norm": "Linf",
        "epsilon": 0.05,
        **robust_accuracy(honest, attack, *held_out, batch_size=40),
    }


def test_step_sweep(honest, held_out):
    rows = step_sweep(honest, *held_out, steps=(1, 6), epsilon=0.08, batch_size=40)
    assert [row["steps"] for row in rows] == [1, 6]
    assert rows[1]["accuracy"] < rows[0]["accuracy"]
    assert sweeps.STEPS[0] == 7 and 8 / 255 in sweeps.EPSILONS["Linf"]
    assert all(radii[0] == 0 for radii in sweeps.EPSILONS.values())


def test_tables(honest, held_out, rows):
    suite = {"noise": GaussianNoise(std=0.1), "fgsm": FGSM(epsilon=0.05), "again": FGSM()}
    record = evaluate(honest, *held_out, suite, early_exit=True, batch_size=40, verbose=0)
    text = report.markdown(record)
    lines = {}
    for line in text.splitlines():
        if "|" in line:
            lines.setdefault(line.split("|")[1].strip(), line)
    fgsm = record["attacks"][1]
    assert f" {100 * fgsm['accuracy']:.2f} % " in lines["fgsm"]
    assert f"{fgsm['broken']} of {fgsm['attacked']}" in lines["fgsm"]
    assert f"**{100 * record['worst_case']['accuracy']:.2f} %**" in text
    usual = report.markdown({**record, "protocol": {**record["protocol"], "epsilon": 8 / 255}})
    assert re.search(r"\| epsilon +\| 0.0313725 +\|", usual)
    assert "%" not in lines["again"] and "noise (does not count)" in lines
    assert "LIF" in lines["neurons"] and record["protocol"]["weights"] in text
    read = list(csv.DictReader(io.StringIO(report.table(rows))))
    assert [float(row["accuracy"]) for row in read] == [row["accuracy"] for row in rows]
    assert [float(row["high"]) for row in read] == [row["interval"][1] for row in rows]
    read = list(csv.DictReader(io.StringIO(report.table(record["attacks"]))))
    assert read[2]["accuracy"] == read[2]["low"] == ""


def test_a_sweep_as_a_table(rows):
    text = report.sweep_markdown(rows)
    head, rule, *body = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()[:5]
    ]
    names = list(dict.fromkeys(row["attack"] for row in rows))
    assert head == ["epsilon (of 255 grey levels)", *names] and all(map(str.strip, rule))
    assert [line[0] for line in body] == ["0", "12.75", "127.5"]
    shown = {
        (row["attack"], f"{255 * row['epsilon']:.4g}"): (
            f"{100 * row['accuracy']:.2f} % "
            f"({100 * row['interval'][0]:.1f} to {100 * row['interval'][1]:.1f})"
        )
        for row in rows
    }
    assert shown == {(n, line[0]): cell for line in body for n, cell in zip(names, line[1:])}
    # A terminal shows columns.
    bars = {tuple(i for i, c in enumerate(line) if c == "|") for line in text.splitlines()[:5]}
    assert len(bars) == 1
    assert "not finite" not in text
    broken = [{**rows[4], "non_finite_answers": 3}]
    assert "not finite, which are errors: fgsm at 12.75: 3." in report.sweep_markdown(broken)
    lengths = [{**row, "norm": "L2"} for row in rows]
    assert report.sweep_markdown(lengths).splitlines()[3].startswith("|             0.05 | ")


def test_a_long_cell_does_not_widen_its_column():
    text = (
        "Before.\n\n| a | b |\n|---|---|\n| x | 1 % |\n| " + 49 * "y" + " | **12 %** |\n\nBehind."
    )
    assert report.aligned(text).splitlines() == [
        "Before.",
        "",
        "| a  |        b |",
        "| -- | -------: |",
        "| x  |      1 % |",
        f"| {49 * 'y'} | **12 %** |",
        "",
        "Behind.",
    ]


@pytest.mark.parametrize("radii, labels", [((0, 2, 4, 8), "0 2 4 8"), ((1, 2, 4), "1 2 4")])
def test_figures(rows, tmp_path, radii, labels):
    given = [{**row, "epsilon": radius / 255} for radius in radii for row in rows[:4]]
    paths = [tmp_path / "sweep.png", tmp_path / "sweep.svg"]
    draw_sweep(given, paths, chance=1 / 3, name="run/dep (vgg5)")
    assert paths[0].read_bytes().startswith(b"\x89PNG")
    text = paths[1].read_text()
    # Beside the outlines of each text stands the text.
    assert all(f"<!-- {row['attack']} -->" in text for row in rows)
    assert "<!-- run/dep (vgg5) -->" in text
    ticks = text.split('id="xtick_')[1:]
    assert [re.search("<!-- (.*) -->", part)[1] for part in ticks] == labels.split()
    # Twice the radius is as far at every radius; radius 0 is in the picture, left of the others.
    places = [float(re.search('<use [^>]* x="([^"]*)"', part)[1]) for part in ticks]
    steps = np.diff(places)
    np.testing.assert_allclose(steps[-2:], steps[-1], rtol=1e-4)
    assert 0 < places[0] and all(steps > 0)


def test_figures_of_one_radius_of_many_and_of_steps(rows, tmp_path):
    several = [{**rows[0], "epsilon": level / 255} for level in range(30)]
    steps = [{**{k: v for k, v in rows[0].items() if k != "epsilon"}, "steps": n} for n in (7, 80)]
    for name, given in (("none", rows[:1]), ("many", several), ("steps", steps)):
        draw_sweep(given, [tmp_path / f"{name}.svg"])
    texts = {p.stem: p.read_text() for p in tmp_path.iterdir()}
    assert "<!-- 0 -->" in texts["none"] and "<!-- PGD steps -->" in texts["steps"]
    assert 3 < texts["many"].count('id="xtick_') <= 12
