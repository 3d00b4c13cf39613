"""The devices of `mirrored` divide attacks, answers and curvature, which stay those of one."""

import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[2]
LIMIT = 200
FIGURES = ("logits", "pgd", "assg", "gradient", "hessian", "gauss_newton", "summed")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("other backends have no such engine")
    path = tmp_path_factory.mktemp("divided") / "found.npz"
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "PYTHONPATH": str(ROOT)}
    subprocess.run(
        [sys.executable, "-m", "tests.distribution.tensorflow_divided", str(path)],
        cwd=ROOT,
        env=environment,
        check=True,
        timeout=LIMIT,
    )
    with np.load(path) as file:
        return dict(file)


@pytest.mark.parametrize("figure", FIGURES)
def test_two_devices_compute_what_one_does(found, figure):
    alone, shared = found[f"alone_{figure}"], found[f"shared_{figure}"]
    assert alone.std() > 0
    np.testing.assert_allclose(shared, alone, atol=1e-5 * np.abs(alone).max())


def test_each_device_computes_its_half(found):
    for figure in FIGURES:
        assert found[f"sizes_alone_{figure}"].max() == 6
        # A sum is no mean of its halves.
        assert found[f"sizes_shared_{figure}"].max() == (6 if figure == "summed" else 3)


def test_an_odd_batch_and_one_with_noise_stay_whole(found):
    assert found["sizes_odd_logits"].tolist() == [5]
    np.testing.assert_allclose(found["odd_logits"], found["alone_logits"][:5], atol=1e-6)
    assert found["sizes_noisy_logits"].tolist() == [6]


@pytest.mark.parametrize("figure", ["logits", "gradient"])
@pytest.mark.parametrize("network", ["alone", "shared"])
def test_an_open_scope_changes_nothing(found, network, figure):
    alone = found[f"alone_{figure}"]
    np.testing.assert_allclose(
        found[f"{network}_{figure}_in_scope"], alone, atol=1e-5 * np.abs(alone).max()
    )
