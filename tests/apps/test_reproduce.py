"""The reproduce app: its plan, one small table from nothing, resumption, and mistakes."""

import dataclasses
import json

import keras
import pytest

from apps import reproduce
from keras_dep._internal import atomic_io
from keras_dep.experiments import grid
from keras_dep.studies import catalogue
from keras_dep.studies import claims
from keras_dep.studies import result_files
from keras_dep.studies import scales
from keras_dep.studies.curvature import Protocol
from keras_dep.studies.scale import Effort
from keras_dep.studies.scale import Scale
from keras_dep.studies.scale import Workload
from keras_dep.studies.verdict import NOT_TESTED
from tests.support.app_status import status_of

TINY = Scale(
    name="tiny",
    workloads=(
        Workload(
            base={
                "train_examples": 32,
                "test_examples": 16,
                "batch_size": 16,
                "timesteps": 2,
                "epochs": 1,
                "attack_examples": 4,
                "watch_examples": 4,
                "hessian_examples": 2,
            },
            seeds=(0,),
            core=("sgd", "dep", "no_such_method"),
            measured=1,
        ),
    ),
    effort=Effort(
        curvature=Protocol(
            batches=1,
            batch_size=4,
            together=4,
            surrogates=("training",),
            kinds=("clean",),
            density_vectors=0,
            trace_products=0,
            epoch_batches=0,
            max_steps=5,
        ),
    ),
)


@pytest.fixture
def launch(monkeypatch, tmp_path):
    monkeypatch.setitem(scales.SCALES, "tiny", TINY)

    def run(*arguments):
        usual = ["--scale=tiny", f"--out_dir={tmp_path / 'out'}"]
        return status_of(reproduce, [*usual, *arguments])

    return run


@pytest.mark.parametrize(
    "arguments, words",
    [
        ([], "table or figure must be given"),
        (["--table=5"], "table must be 1, 2, 3, 4, growth, several of"),
        (["--figure=all,1"], "figure must be 1, 2, 3, 4, growth"),
        (["--table=1", "--scale=huge"], "scale must be one of smoke, cpu_small, cpu, gpu, paper"),
        (["--table=1", "--out_dir="], "out_dir must name a folder"),
        (["--table=1", "--shard=3/2"], "shard must be i/n with i from 1 to n"),
        (["--table=1", "--machines=0", "--dry_run"], "machines must be at least 1"),
        (["--table=1", "--gpus_per_run=1"], "gpus_per_run is for --engine=ray"),
        (["--table=1", "--part=more"], "part needs results_dir"),
        (["--table=1", "--part=../a", "--results_dir=no"], "part must be letters, digits, _"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line_and_leaves_nothing(launch, capsys, tmp_path, arguments, words):
    assert launch(*arguments) == 2
    message = capsys.readouterr().err.strip().splitlines()
    assert len(message) == 1 and message[0].startswith("reproduce: ") and words in message[0]
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="compiling its networks takes minutes elsewhere"
)
def test_a_table_from_nothing_and_again(launch, capsys, tmp_path, monkeypatch):
    out = tmp_path / "out"
    assert launch("--table=2", "--dry_run", "--machines=1,2") == 0
    plan = capsys.readouterr().out
    methods = "sgd, dep, no_such_method, ANN counterpart"
    assert f"| digits | c | {methods} | 4 | 0 |" in plan and not out.exists()
    assert "| 2 | " in plan and "Memory of a process: " in plan
    # A shard trains its part beside another process, but not beside itself.
    with atomic_io.claimed(out / "shards" / "2-of-2"):
        assert launch("--table=2", "--shard=2/2") == 2
        assert "in use by another process" in capsys.readouterr().err
        assert launch("--table=2", "--shard=1/2") == 0
    assert not (out / "table-2.md").exists()
    progress = (out / "progress-1-of-2.md").read_text()
    assert "| finished | 1 of 1 |" in progress and "no_such_method, c" not in progress
    assert launch("--table=2", "--shard=2/2") == 0
    shown = capsys.readouterr().out
    assert "failed: digits vgg5 no_such_method" in shown and "shard 2-of-2 has ended" in shown
    assert launch("--table=2", f"--results_dir={tmp_path / 'results'}") == 0
    shown = capsys.readouterr().out
    assert "1 of 1: digits vgg5 no_such_method" in shown
    assert "hole: methods must be some of" in shown and "spectral radius, clean" in shown
    record = json.loads((tmp_path / "results" / "tiny" / "table-2.json").read_text())
    lines = {(line["method"], line["quantity"]): line for line in record["lines"]}
    assert lines["sgd", "spectral radius, clean"]["n"] == 1
    assert lines["dep", "spectral radius, clean"]["values"][0] > 0
    assert record["seconds"] > 0 and record["scale"] == "tiny"
    table = (out / "table-2.md").read_text()
    assert (out / "table-2.csv").read_text().startswith("dataset,network,method")
    # A second time nothing that is finished is trained; the table is the same.
    trained = []
    monkeypatch.setattr(grid, "train_run", lambda *given, **_: trained.append(given))
    assert launch("--table=2") == 0
    assert trained == [] and (out / "table-2.md").read_text() == table
    assert "3 of 4 runs are finished, and 3 of 3 measurements" in capsys.readouterr().out


@pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="compiling its networks takes minutes elsewhere"
)
def test_holes_of_a_table_are_filled_in_another_folder(launch, capsys, tmp_path, monkeypatch):
    load = dataclasses.replace(TINY.workloads[0], core=("sgd",), seeds=(0, 1), measured=2)
    monkeypatch.setitem(scales.SCALES, "tiny", dataclasses.replace(TINY, workloads=(load,)))
    results_dir = str(tmp_path / "results")
    given = ["--table=2", f"--results_dir={results_dir}"]
    assert launch("--table=2", "--shard=1/2") == 0
    capsys.readouterr()
    assert launch(*given, "--notrain") == 0
    # Nothing is forecast where nothing is trained.
    shown = capsys.readouterr().out
    assert "spectral radius, clean" in shown and "Left: " not in shown
    rest = [*given, "--part=rest", f"--out_dir={tmp_path / 'elsewhere'}"]
    # A shard has one spiking network and one ANN counterpart.
    for done in (0, 2):
        assert launch(*rest) == 0
        expected = f"{done} of 2 runs are finished, and {done} of 2 measurements"
        assert expected in capsys.readouterr().out

    def radius(without=None):
        lines = result_files.of_scale(results_dir, "tiny", without)["2"].lines
        key = "vgg5", "spectral radius, clean"
        (found,) = [line for line in lines if (line.network, line.quantity) == key]
        return found

    alone, joined = radius(without="rest"), radius()
    (here,) = alone.seeds
    assert alone.holes == {1 - here: "not trained yet"}
    assert joined.seeds == (0, 1) and joined.holes == {} and joined.values[here] == alone.values[0]
    # With nothing left there is no further part.
    assert launch(*given, "--part=third", f"--out_dir={tmp_path / 'third'}") == 0
    assert "0 of 0 runs are finished" in capsys.readouterr().out
    assert not (tmp_path / "results" / "tiny" / "third").exists()


@pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="compiling its networks takes minutes elsewhere"
)
def test_the_smoke_scale_makes_every_table_and_figure(launch, tmp_path):
    results_dir = str(tmp_path / "results")
    assert (
        launch("--scale=smoke", "--table=all", "--figure=all", f"--results_dir={results_dir}") == 0
    )
    tables = result_files.of_scale(results_dir, "smoke")
    assert list(tables) == list(catalogue.STUDIES)
    lines = [line for table in tables.values() for line in table.lines]
    seeds = tuple(scales.find("smoke").workloads[0].seeds)
    assert {line.seeds for line in lines} == {seeds} and not any(line.holes for line in lines)
    files = [f"table-{name}.{kind}" for name in catalogue.STUDIES for kind in ("md", "csv", "json")]
    files += [f"figure-{name}.{kind}" for name in catalogue.FIGURES for kind in ("png", "svg")]
    assert all((tmp_path / "out" / name).stat().st_size > 500 for name in files)
    # All claims but the two on the paper's rivals, which this scale leaves out.
    untested = {each["number"] for each in claims.judge(lines) if each["verdict"] == NOT_TESTED}
    assert untested == {8, 9}
