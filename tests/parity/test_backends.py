"""One network, one batch, three frameworks: the same losses, weights, and saved files."""

import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

import keras_dep
from tests.parity import worker

BACKENDS = ("torch", "tensorflow", "jax")
ROOT = pathlib.Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="runs every backend itself, once is enough"
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parity")
    draw = np.random.default_rng(0)
    keras.utils.set_random_seed(1)
    weights = {f"weight_{i}": value for i, value in enumerate(worker.network().get_weights())}
    x, y = draw.random((16, 8, 8, 1)).astype("float32"), draw.integers(0, 10, 16).astype("int32")
    np.savez(folder / "given.npz", x=x, y=y, **weights)
    found = {}
    for backend in BACKENDS:
        target, saved = folder / f"{backend}.npz", folder / f"{backend}.keras"
        subprocess.run(
            [sys.executable, "-m", "tests.parity.worker", folder / "given.npz", target, saved],
            cwd=ROOT,
            env={**os.environ, "KERAS_BACKEND": backend},
            check=True,
            timeout=300,
        )
        found[backend] = dict(np.load(target))
    return folder, x, found


@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_first_loss_and_weights_after_five_steps(runs, backend):
    _, _, found = runs
    mine, reference = found[backend], found["torch"]
    assert mine["losses"][0] == pytest.approx(reference["losses"][0], rel=1e-4)
    for name in (name for name in reference if name.startswith("weight_")):
        np.testing.assert_allclose(mine[name], reference[name], atol=1e-3, err_msg=name)


@pytest.mark.parametrize("backend", BACKENDS[1:])
@pytest.mark.parametrize("kind", ["Hessian", "GaussNewton"])
def test_eigenvalues_of_a_spiking_network(runs, backend, kind):
    _, _, found = runs
    np.testing.assert_allclose(found[backend][kind], found["torch"][kind], rtol=1e-3)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_file_saved_elsewhere_gives_the_same_logits(runs, backend):
    folder, x, found = runs
    loaded = keras.saving.load_model(folder / f"{backend}.keras")
    logits = keras_dep.models.inference.logits(loaded, x)
    np.testing.assert_allclose(logits, found[backend]["logits"], atol=1e-4)


@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_worst_cases_agree_within_the_interval(runs, backend):
    _, x, found = runs
    mine, reference = (int(found[name]["standing"].sum()) for name in (backend, "torch"))
    assert 0 < reference < len(x)
    low, high = keras_dep.evaluation.wilson(reference, len(x))
    assert low <= mine / len(x) <= high
    # And by and large on the same images.
    assert (found[backend]["standing"] != found["torch"]["standing"]).sum() <= 2
