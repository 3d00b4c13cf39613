"""Sweeps against single measurements; tables and figures that hold what was measured."""

import csv
import io

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
    assert "%" not in lines["again"] and "noise (does not count)" in lines
    assert "LIF" in lines["neurons"] and record["protocol"]["weights"] in text
    read = list(csv.DictReader(io.StringIO(report.table(rows))))
    assert [float(row["accuracy"]) for row in read] == [row["accuracy"] for row in rows]
    assert [float(row["high"]) for row in read] == [row["interval"][1] for row in rows]
    read = list(csv.DictReader(io.StringIO(report.table(record["attacks"]))))
    assert read[2]["accuracy"] == read[2]["low"] == ""


def test_figures(rows, tmp_path):
    paths = [tmp_path / "sweep.png", tmp_path / "sweep.svg"]
    draw_sweep(rows, paths, chance=1 / 3)
    assert paths[0].read_bytes().startswith(b"\x89PNG")
    text = paths[1].read_text()
    assert "<svg" in text
    # Beside the outlines of each text stands the text.
    assert all(f"<!-- {row['attack']} -->" in text for row in rows)
