"""What a finished run leaves: read whole, and every damage one line with the file's name."""

import json
import shutil

import keras
import pytest

from keras_dep.callbacks import EpochWeights
from keras_dep.experiments import results
from keras_dep.experiments.settings import Settings
from keras_dep.studies import curvature

SPECTRUM = {
    "iteration": 3,
    "spectral_radius": float("inf"),
    "leading_share": 0.2,
    "alignment": {
        "gradient_energy_in_top": 0.1,
        "curvature_along_gradient": 1.0,
        "curvature_along_step": -1.0,
        "cosine": 0.3,
    },
}
RESULT = {
    "schema": results.SCHEMA,
    "method": "dep",
    "backend": "torch",
    "settings": {"dataset": "digits", "tau": 2, "surrogate": "triangle"},
    "accuracy": {"clean": 0.5, "fgsm": 0.25, "pgd": 0.0},
    "attacked_examples": 8,
    "collapse": [{"collapsed": True, "recovered_epoch": None}],
    "worst_after_poison": None,
    "hessian": SPECTRUM,
    "hessian_history": [SPECTRUM],
    "seconds_per_step": 0.1,
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    results.save(folder, network, RESULT)
    network.compile("sgd", "mse")
    kept = EpochWeights(folder / "epochs")
    kept.set_model(network)
    kept.on_train_begin()
    return folder


@pytest.fixture
def folder(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    return tmp_path / "run"


def test_settings_and_result_come_back(folder):
    settings, result = results.finished(folder, results.SHOWN)
    assert settings == Settings(tau=2)
    assert result == {**RESULT, "model_sha256": result["model_sha256"]}
    assert results.trained_network(folder, result).output_shape == (None, 3)
    run = curvature.Run(folder)
    assert list(run.epochs()) == [0]


@pytest.mark.parametrize(
    "change, words",
    [
        ("", "is damaged, not whole JSON"),
        ("{}", "'method' is missing"),
        ("[]", "it must be an object; received []"),
        ({"schema": 3}, "must have a schema up to 2; received 3; read it with the version"),
        ({"settings": []}, "'settings' must be an object; received []"),
        ({"settings": {"tau": "x"}}, "'settings.surrogate' is missing"),
        ({"settings": {"surrogate": "step"}}, "surrogate must be one of"),
        ({"settings": {"surrogate": "arctan", "tau": "x"}}, "tau must be a number; received 'x'"),
        ({"settings": {"surrogate": "arctan", "epochs": 2.5}}, "epochs must be an integer; rec"),
        ({"accuracy": 1}, "'accuracy' must be an object; received 1"),
        ({"accuracy": {"clean": 1}}, "'accuracy.fgsm' is missing"),
        ({"collapse": [1]}, "'collapse[0]' must be an object"),
        ({"hessian": {}}, "'hessian.spectral_radius' is missing"),
        ({"seconds_per_step": "x"}, "'seconds_per_step' must be a number or null"),
    ],
    ids=str,
)
def test_a_damaged_result_is_one_line(folder, change, words):
    path = folder / "result.json"
    path.write_text(change if isinstance(change, str) else json.dumps({**RESULT, **change}))
    with pytest.raises(ValueError) as caught:
        results.finished(folder, results.SHOWN)
    message = str(caught.value)
    assert words in message and str(path) in message and "\n" not in message
    mend = "the version of keras_dep that wrote" if "schema" in change else "train one with apps"
    assert mend in message


def test_a_result_of_the_first_schema_is_read(folder):
    old = {**RESULT, "optimizer": "dep"}
    del old["schema"], old["method"]
    (folder / "result.json").write_text(json.dumps(old))
    assert results.finished(folder, results.SHOWN)[1] == RESULT


def test_a_setting_of_another_version_is_refused(folder):
    settings = {**RESULT["settings"], "of_another_version": 1}
    (folder / "result.json").write_text(json.dumps({**RESULT, "settings": settings}))
    with pytest.raises(ValueError, match="setting of_another_version=1, which this version"):
        results.finished(folder)


def test_a_result_that_the_figures_cannot_draw_is_refused_ahead(folder):
    for history in ("x", [{}], [{"iteration": 1.5, "spectral_radius": 1}]):
        (folder / "result.json").write_text(json.dumps({**RESULT, "hessian_history": history}))
        with pytest.raises(ValueError, match="result.json .*'hessian_history"):
            curvature.Run(folder)


def test_another_network_and_damaged_weights_are_refused_before_a_measurement(folder):
    path = folder / "model.keras"
    former = path.read_bytes()
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]).save(path)
    with pytest.raises(ValueError, match="model.keras is not the network that result.json"):
        curvature.Run(folder)
    path.write_bytes(former[:-9])
    with pytest.raises(ValueError, match="model.keras' is damaged, cut short"):
        curvature.Run(folder)
    path.write_bytes(former)
    weights = folder / "epochs/0.weights.h5"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ValueError, match="0.weights.h5' cannot be used .the checksum does not"):
        curvature.Run(folder)
    # Of a revision that recorded no checksum: what HDF5 finds is one line too.
    (folder / "epochs/0.weights.h5.sha256").unlink()
    weights.write_bytes(content[:1000])
    with pytest.raises(ValueError, match="0.weights.h5' cannot be used") as caught:
        list(curvature.Run(folder).epochs())
    assert "\n" not in str(caught.value)


def test_a_run_of_an_earlier_revision_is_read(folder):
    result = json.loads((folder / "result.json").read_text())
    del result["model_sha256"], result["sha256"]
    result["hessian"]["spectral_radius"] = float("nan")
    (folder / "result.json").write_text(json.dumps(result))
    assert '"spectral_radius": NaN' in (folder / "result.json").read_text()
    (folder / "epochs/0.weights.h5.sha256").unlink()
    assert list(curvature.Run(folder).epochs()) == [0]
