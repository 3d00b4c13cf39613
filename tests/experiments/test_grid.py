"""Grids of runs: who shares a run, what is trained, and what a failure leaves."""

import json

import keras
import pytest

from keras_dep.experiments import grid
from keras_dep.experiments.settings import Settings

SMALL = {
    "train_examples": 32,
    "test_examples": 16,
    "batch_size": 16,
    "timesteps": 2,
    "epochs": 1,
    "attack_examples": 8,
    "watch_examples": 8,
    "hessian_examples": 0,
    "poison_count": 0,
    "jit": "off" if keras.backend.backend() == "tensorflow" else "auto",
}


def test_a_fingerprint_is_what_decides_the_result():
    cell = grid.Cell(settings=Settings(), method="dep")
    assert cell.fingerprint == grid.Cell(settings=Settings(), method="dep").fingerprint
    for name, value in (("seed", 1), ("poison_count", 5), ("poison_protocol", "released")):
        assert cell.varied(**{name: value}).group != cell.group
    # The network is the same wherever the data lie.
    assert cell.varied(data_dir="/elsewhere", keep_epochs=True).fingerprint == cell.fingerprint
    other = cell.varied(method="sam(rho=0.1)")
    assert other.group == cell.group and other.fingerprint == f"{cell.group}/sam-rho=0.1"


def test_a_product_has_each_run_once():
    conditions = [{"poison_count": 0}, {"poison_count": 1}, {"poison_count": 0}]
    cells = grid.product({"epochs": 2}, ["sgd", "dep"], (0, 1), conditions)
    assert len(cells) == 8
    assert [cell.method for cell in cells[:2]] == ["sgd", "dep"]
    with pytest.raises(ValueError, match="poison_epoch must be below"):
        grid.product({"epochs": 2}, ["sgd"], (0,), [{"poison_epoch": 2}])


def test_runs_are_trained_once_and_a_failure_is_a_hole(tmp_path, monkeypatch):
    out_dir = str(tmp_path)
    cells = grid.product(SMALL, ["sgd", "no_such_method"], (0,))
    cells.append(cells[0].varied(train_examples=8))
    before = grid.collect(cells, out_dir)
    assert [each.reason for each in before] == [grid.NOT_TRAINED] * 3
    lines = []
    done = grid.train(cells, out_dir, lines.append)
    assert done[0].result["accuracy"]["clean"] >= 0 and done[0].reason is None
    assert "received 'no_such_method'" in done[1].reason and done[1].result is None
    assert "batch_size must be" in done[2].reason and "\n" not in done[2].reason
    assert sum(line.startswith("failed: ") for line in lines) == 2
    # The finished run is read; the others are tried again.
    calls = []
    monkeypatch.setattr(grid, "train_run", lambda *given, **_: calls.append(given[2]))
    grid.train(cells[:1], out_dir)
    assert calls == []
    grid.train([cells[2]], out_dir)
    assert calls == [cells[2].folder(out_dir)]
    assert [cell.state(out_dir) for cell in cells] == [grid.FINISHED] + [grid.UNFINISHED] + [
        grid.UNFINISHED
    ]


def test_a_damaged_or_later_result_is_a_hole(tmp_path):
    cell = grid.Cell(settings=Settings(**SMALL))
    folder = tmp_path / grid.RUNS / cell.fingerprint
    folder.mkdir(parents=True)
    for content, words in (("{", "damaged"), (json.dumps({"schema": 99}), "received 99")):
        (folder / "result.json").write_text(content)
        (outcome,) = grid.collect([cell], str(tmp_path))
        assert words in outcome.reason and "\n" not in outcome.reason


@pytest.mark.parametrize(
    "values, words",
    [
        ({"poison_count": 0}, "c"),
        ({"poison_count": 0, "base": "adversarial"}, "p"),
        ({"poison_count": 5, "poison_epoch": 2}, "c/+p_2, 5 batches"),
        ({"poison_protocol": "clamp_only"}, "c/+p_0, 1 batch, poison clamp only"),
        ({"normalization_control": "frozen"}, "c/+p_0, 1 batch, statistics frozen"),
    ],
)
def test_conditions_in_words(values, words):
    assert grid.condition(Settings(**values)) == words


def test_steps_and_their_cost():
    settings = Settings(batch_size=16, epochs=4, poison_count=2, poison_epoch=1)
    assert grid.training_steps(settings, 48) == 4 * 3 + 3 * 2
    cell = grid.Cell(settings=settings)
    outcomes = [
        grid.Outcome(cell=cell, folder="", result={"seconds_per_step": seconds})
        for seconds in (0.1, 0.2, None, 0.4)
    ]
    assert grid.seconds_per_step(outcomes) == {("digits", "vgg5", "clean", "sgd", 4): 0.2}
