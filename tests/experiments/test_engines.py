"""The local engine, what every engine is told, and the table of all runs."""

import sys

import pytest

from keras_dep.experiments import engines
from keras_dep.experiments import grid
from keras_dep.experiments import progress
from keras_dep.experiments.settings import Settings
from keras_dep.training import state_file


def test_tasks_run_in_their_order_and_a_failure_stops_none():
    done, reasons, seen = [], [], []

    def call(name):
        done.append(name)
        return "no luck" if name == "b" else None

    tasks = [
        engines.Task(
            key=(name,), title=name, call=lambda name=name: call(name), fail=reasons.append
        )
        for name in "abc"
    ]
    lines = []
    found = engines.Local().carry_out(tasks, lines.append, lambda: seen.append(len(done)))
    assert found == {("b",): "no luck"} and reasons == ["no luck"] and done == list("abc")
    assert lines == ["1 of 3: a", "2 of 3: b", "failed: b: no luck", "3 of 3: c"]
    assert seen == [1, 2, 3]


def test_a_run_comes_after_those_that_its_method_needs(tmp_path):
    cells = grid.product({}, ["sgd", "dep", "hosnn+dep", "no_such_method"], (0,))
    tasks = grid.tasks(cells, str(tmp_path))
    assert [list(task.after) for task in tasks] == [[], [], [(cells[0].fingerprint,)], []]
    assert [task.key for task in tasks] == [(cell.fingerprint,) for cell in cells]


@pytest.mark.parametrize(
    "options, words",
    [
        ({"cpus": -1}, "cpus must be at least 0; received -1"),
        ({"gpus": -0.5}, "gpus must be at least 0; received -0.5"),
        ({"retries": -2}, "retries must be at least -1; received -2"),
    ],
)
def test_mistakes_in_the_options_of_ray(options, words):
    with pytest.raises(ValueError, match=words):
        engines.Ray(**options)


def test_without_ray_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    task = engines.Task(key=("a",), title="a", call=lambda: None)
    with pytest.raises(ValueError, match=r"pip install 'keras_dep\[cluster\]'"):
        engines.Ray().carry_out([task])
    # Nothing to do needs no Ray.
    assert engines.Ray().carry_out([]) == {}


def test_the_table_of_runs_says_how_far_each_is(tmp_path):
    out_dir = str(tmp_path)
    cells = [grid.Cell(settings=Settings(seed=seed, epochs=4)) for seed in range(4)]
    folders = [tmp_path / grid.RUNS / cell.fingerprint for cell in cells]
    for folder in folders[:3]:
        folder.mkdir(parents=True)
    (folders[0] / "result.json").write_text("{}")
    for epochs in (1, 2):
        state = state_file.State({}, "SGD", epochs, 10, False, {}, {}, {})
        state_file.save(str(folders[1] / "state"), state)
    grid._fail(cells[2], out_dir, "no memory | none")
    assert [row[1:] for row in progress.rows(cells, out_dir)] == [
        ("finished", "4 of 4"),
        ("begun", "2 of 4"),
        ("failed: no memory | none", "0 of 4"),
        ("new", "0 of 4"),
    ]
    # A damaged state counts as none.
    (folders[1] / "state.0").write_bytes(b"\xff" * 20)
    assert progress.rows(cells, out_dir)[1][2] == "1 of 4"
    progress.write(str(tmp_path / "progress.md"), cells, out_dir)
    text = (tmp_path / "progress.md").read_text()
    assert text.startswith("4 runs: 1 begun, 1 failed, 1 finished, 1 new\n")
    assert all(line.count("|") == 4 for line in text.splitlines()[2:])
