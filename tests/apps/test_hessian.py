"""The hessian app as a person meets it: mistakes, and the files it leaves of two small runs."""

import json
import statistics

import keras
import numpy as np
import pytest

import keras_dep
from apps import hessian
from keras_dep.experiments.settings import Settings
from tests.support.event_files import read_scalars

BATCHES, SIZE, KINDS, SURROGATES = 2, 6, ("clean", "fgsm"), ("training", "arctan")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """What two finished runs with two kept epochs leave, of networks without training."""
    folder = tmp_path_factory.mktemp("runs")
    for seed, name in enumerate(("sgd", "dep")):
        keras.utils.set_random_seed(seed)
        body = [
            keras.Input((8, 8, 1)),
            keras.layers.Flatten(),
            keras_dep.DirectEncoding(2),
            keras.layers.Dense(8),
            keras_dep.LIF(2),
            keras.layers.Dense(10),
            keras_dep.UnfoldTime(2),
        ]
        (folder / name).mkdir()
        model = keras.Sequential(body)
        model.save(folder / name / "model.keras")
        settings = {"dataset": "digits", "timesteps": 2, "eval_steps": 2}
        history = [{"iteration": 5, "spectral_radius": 3.0}]
        (folder / name / "epochs").mkdir()
        trained = model.get_weights()
        for epoch in range(2):
            model.set_weights([(0.5 + 0.5 * epoch) * weight for weight in trained])
            model.save_weights(folder / name / f"epochs/{epoch}.weights.h5")
        result = {"optimizer": name, "settings": settings, "hessian_history": history}
        (folder / name / "result.json").write_text(json.dumps(result))
    return folder


@pytest.fixture
def launch(runs, tmp_path):
    """Launches the app in this process; returns its exit status."""

    def run(*arguments):
        hessian.FLAGS.unparse_flags()
        for name in hessian.FLAGS:
            hessian.FLAGS[name].unparse()
        argv = ["hessian.py", f"--run_dir={runs}", f"--out_dir={tmp_path / 'out'}", *arguments]
        with pytest.raises(SystemExit) as caught:
            hessian.launch(argv)
        return caught.value.code or 0

    return run


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--run_dir=/nowhere"], "must hold the result.json and model.keras of a finished run"),
        (["--runs="], "runs must be names of runs in --run_dir, the baseline first; received ''"),
        (["--runs=sgd,,dep"], "runs must have an entry on each side of a comma; received 'sgd,,"),
        (["--runs=sgd,sgd"], "runs must have each entry once; received 'sgd,sgd'"),
        (["--run_dir="], "run_dir must name a folder; received ''"),
        (["--out_dir= "], "out_dir must name a folder; received ' '"),
        (["--data_dir="], "data_dir must name a folder; received ''"),
        (["--batches=0"], "batches must be at least 1; received 0"),
        (["--count=-1"], "count must be at least 1; received -1"),
        (["--max_steps=4"], "max_steps must be at least count=5, a product for each eigenvalue"),
        (["--tolerance=nan"], "tolerance must lie in [0, 1), a share of the spectral radius; rece"),
        (["--tolerance=-1"], "tolerance must lie in [0, 1), a share of the spectral radius; recei"),
        (
            ["--tolerance=inf"],
            "tolerance must lie in [0, 1), a share of the spectral radius; recei",
        ),
        (["--trace_products=1"], "trace_products must be 3 or more, or 0 for no trace; received 1"),
        (["--density_vectors=-1"], "flag --density_vectors=-1: -1 is not a non-negative integer"),
        (["--epoch_batches=-1"], "epoch_batches must be at least 0; received -1"),
        (["--kinds="], "kinds must be among clean, fgsm, pgd; received ''"),
        (["--kinds=clean,clean"], "kinds must have each entry once; received 'clean,clean'"),
        (["--batches=1000"], "batches=1000 of batch_size=128 need 128000 images: test_examples mu"),
        (["--batches=1000"], "test_examples must be a whole number from 1 to 297"),
        (["--kinds=clean,noise"], "kinds must be among clean, fgsm, pgd; received 'clean, noise'"),
        (["--surrogates=step"], "surrogates must be among training, triangle"),
        (["--epoch_batches=21"], "epoch_batches must be from 0 to batches=20; received 21"),
        (["--method=qr"], "method must be one of lanczos, power; received 'qr'"),
        (["--backend=mxnet"], "flag --backend=mxnet: value should be one of"),
        (["sgd"], "no positional arguments are taken; received 'sgd'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line_before_anything_is_computed(
    launch, capsys, monkeypatch, tmp_path, arguments, words
):
    monkeypatch.setattr("keras_dep.studies.curvature.measure", None)
    assert launch(*arguments) == 2
    message = capsys.readouterr().err.strip().splitlines()
    assert len(message) == 1 and message[0].startswith("hessian: ") and words in message[0]
    assert not (tmp_path / "out").exists()


def test_help_lists_every_flag(launch, capsys):
    assert launch("--help") == 0
    text = capsys.readouterr().out
    assert all(f"--{name}: " in text for name in hessian.FLAGS)


def test_table_files_and_figures(launch, runs, capsys, tmp_path):
    status = launch(
        f"--batches={BATCHES}",
        f"--batch_size={SIZE}",
        f"--kinds={','.join(KINDS)}",
        f"--surrogates={','.join(SURROGATES)}",
        "--tolerance=1e-3",
    )
    assert status == 0
    out = tmp_path / "out"
    found = json.loads((out / "hessian.json").read_text())
    table = (out / "hessian.md").read_text()
    assert table.strip() in capsys.readouterr().out
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    labels = {"training": "training: triangle, width 1", "arctan": "arctan, width 0.5"}
    for name in ("sgd", "dep"):
        run, scalars = found["runs"][name], read_scalars(out / name)
        assert run["loss"] == "cross-entropy of the mean logits"
        for surrogate in SURROGATES:
            assert run["trace"][surrogate]["products"] == 15
            assert labels[surrogate].endswith(run["surrogates"][surrogate])
            for kind in KINDS:
                records = run["spectra"][surrogate][kind]
                assert all(("alignment" in record) == (kind == "clean") for record in records)
                radii = [record["spectral_radius"] for record in records]
                logged = scalars[f"curvature_{kind}/{surrogate}/spectral_radius"]
                assert logged == [(index, pytest.approx(r)) for index, r in enumerate(radii)]
                compared, *ends = [row for row in rows if row[:2] == [labels[surrogate], kind]]
                mean, spread = statistics.fmean(radii), statistics.stdev(radii)
                column = rows[0].index(f"spectral radius, {name}")
                cell = f"{mean:.4g} ({spread:.3g}), {statistics.median(radii):.4g}"
                assert compared[column] == cell
                (row,) = [row for row in ends if row[2] == name]
                worst = max(max(record["residuals"]) for record in records)
                assert row[-1] == f"{worst:.2g}"
            # The last kept epoch has the weights of the model itself.
            early, late = run["epochs"][surrogate]
            first, _ = run["spectra"][surrogate]["clean"]
            assert late == {"epoch": 1, "batch": 0, **first}
            assert early["spectral_radius"] != first["spectral_radius"]
            radii = [(e["epoch"], pytest.approx(e["spectral_radius"])) for e in (early, late)]
            assert scalars[f"curvature_epochs/{surrogate}/spectral_radius"] == radii
            (row,) = [row for row in rows if row[:3] == [labels[surrogate], name, "0"]]
            assert row[3] == f"{early['spectral_radius']:.4g}"
    # One of them by hand: the second batch, attacked through the run's own surrogate.
    model = keras.saving.load_model(runs / "dep" / "model.keras")
    data = keras_dep.data.sources.load("digits", test_examples=BATCHES * SIZE)
    x, y = data.x_test[SIZE:].astype("float32") / 255, data.y_test[SIZE:]
    attacked = keras_dep.FGSM(epsilon=Settings().eval_epsilon)(model, x, y)
    seen = keras_dep.Hessian(
        keras_dep.with_surrogate(model, "arctan"), keras_dep.MeanLogitCrossentropy()
    )
    expected = seen.spectrum(attacked, y, tolerance=1e-3)
    record = found["runs"]["dep"]["spectra"]["arctan"]["fgsm"][1]
    np.testing.assert_allclose(record["eigenvalues"], expected.eigenvalues, rtol=1e-3)
    for figure in ("alignment", "density", "epochs", "training"):
        assert (out / f"{figure}.png").read_bytes().startswith(b"\x89PNG")
        text = (out / f"{figure}.svg").read_text()
        assert "<!-- sgd, training: triangle, width 1 -->" in text


def test_pyhessians_iteration(launch, tmp_path):
    options = ("--batches=1", "--kinds=clean", "--surrogates=training", "--method=power")
    assert launch(*options, "--batch_size=6", "--density_vectors=0", "--trace_products=0") == 0
    found = json.loads((tmp_path / "out/hessian.json").read_text())["runs"]["sgd"]
    (record,) = found["spectra"]["training"]["clean"]
    assert len(record["eigenvalues"]) == 5 and np.isfinite(record["residual"])
    assert "alignment" not in record and "trace" not in found and "density" not in found
    assert "alignment" not in (tmp_path / "out/hessian.md").read_text()
    assert not (tmp_path / "out/alignment.png").exists()
