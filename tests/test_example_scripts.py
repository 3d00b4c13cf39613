"""Every script in `examples/` runs at its small size, on every backend."""

import pathlib
import runpy

import numpy as np
import pytest

EXAMPLES = pathlib.Path(__file__).parents[1] / "examples"


@pytest.fixture
def run(monkeypatch):
    monkeypatch.setenv("KERAS_DEP_EXAMPLE_SMALL", "1")
    return lambda name: runpy.run_path(str(EXAMPLES / name))


def test_every_example_has_a_test():
    tested = {"dep_on_a_resnet.py", "spiking_network_attacked.py", "spectrum_along_training.py"}
    assert {path.name for path in EXAMPLES.glob("*.py")} == tested


def test_dep_on_a_resnet(run):
    found = run("dep_on_a_resnet.py")
    assert 0 <= found["sgd_accuracy"] <= 1 and 0 <= found["dep_accuracy"] <= 1
    assert len(found["removed"]) == len(found["dep"].projected_paths)
    assert np.all((found["removed"] > 0) & (found["removed"] <= 1))


def test_spiking_network_attacked(run):
    found = run("spiking_network_attacked.py")
    assert len(found["watch"].events) == found["EPOCHS"]
    accuracies = [row["accuracy"] for row in found["found"]["attacks"]]
    assert len(accuracies) == 4 and found["worst"] <= min(accuracies)
    assert max(accuracies) <= found["clean"]


def test_spectrum_along_training(run):
    found = run("spectrum_along_training.py")
    (history,) = found["spectrum"].history
    assert "triangle" in history["surrogate"] and len(history["eigenvalues"]) == found["COUNT"]
    assert history["spectral_radius"] == pytest.approx(np.max(np.abs(history["eigenvalues"])))
    # A mean of eigenvalues lies between the extremes.
    assert found["low"] <= found["density"].moment(1) <= found["high"]
