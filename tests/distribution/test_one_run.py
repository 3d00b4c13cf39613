"""A whole run on two workers ends as on one, and a worker that dies changes nothing."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

import keras_dep
from keras_dep import distribution
from keras_dep import experiments
from keras_dep.models import vgg
from keras_dep.training import state_file
from tests.distribution.one_run import NARROW
from tests.distribution.one_run import SETTINGS

ROOT = pathlib.Path(__file__).parents[2]
ENGINE = {"torch": "ddp", "tensorflow": "mirrored", "jax": "data_parallel"}[keras.backend.backend()]
TORCH = pytest.mark.skipif(keras.backend.backend() != "torch", reason="the engine is torch's")
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
LIMIT = 400


def launch(*command):
    """Runs Python on a command, on the processor alone; returns the finished process."""
    hidden = {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu", "GLOO_SOCKET_IFNAME": "lo"}
    return subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=ROOT,
        env={**os.environ, **hidden, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )


def run(folder, *, mark=None):
    arguments = [ENGINE, folder, mark] if mark else [ENGINE, folder]
    launcher = (*TORCHRUN, "--max-restarts=1") if ENGINE == "ddp" else ()
    done = launch(*launcher, "-m", "tests.distribution.one_run", *arguments)
    assert done.returncode == 0, done.stderr[-4000:]
    return state_file.newest(folder / "state"), json.loads((folder / "result.json").read_text())


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    return folder, *run(folder)


def test_two_workers_end_where_one_does(two_workers, tmp_path, monkeypatch):
    monkeypatch.setitem(vgg.STAGES, "vgg5", NARROW["vgg5"])
    folder, state, result = two_workers
    alone = experiments.run(SETTINGS, "dep", tmp_path, verbose=0)
    expected = state_file.newest(tmp_path / "state")
    for found, wanted in zip(state.variables.values(), expected.variables.values(), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert state.iterations == 22
    # The images are counted over both workers.
    assert result["accuracy"] == alone["accuracy"]
    assert result["worst_after_poison"] == alone["worst_after_poison"]
    for name, values in alone["history"].items():
        np.testing.assert_allclose(result["history"][name], values, rtol=5e-3, err_msg=name)
    for found, wanted in zip(result["poisoned_batches"], alone["poisoned_batches"], strict=True):
        assert found["place"] == wanted["place"]
        assert found["loss"] == pytest.approx(wanted["loss"], rel=1e-4)
    # One worker has written.
    assert len(list(folder.glob("events.*"))) == 1


@TORCH
def test_a_worker_that_dies_in_an_epoch_changes_no_bit(two_workers, tmp_path):
    _, unbroken, _ = two_workers
    state, _ = run(tmp_path / "run", mark=tmp_path / "dead")
    assert (tmp_path / "dead").exists()
    for found, wanted in zip(state.variables.values(), unbroken.variables.values(), strict=True):
        assert found.tobytes() == wanted.tobytes()
    assert state.history == unbroken.history


def test_a_start_that_cannot_be_is_one_line(monkeypatch):
    with pytest.raises(ValueError, match="distribute must be one of ddp; received 'mirrored'"):
        distribution.start("mirrored")
    monkeypatch.delenv("RANK", raising=False)
    mend = "received RANK=''; start the program with torchrun"
    if keras.backend.backend() != "torch":
        mend = "needs the backend torch; received .*; set KERAS_BACKEND=torch"
    with pytest.raises(ValueError, match=mend):
        distribution.start("ddp")
    assert distribution.workers().count == 1


def test_batches_that_cannot_be_divided_are_refused(monkeypatch):
    workers = distribution.workers()
    monkeypatch.setattr(workers, "count", 3)
    with pytest.raises(ValueError, match="multiple of 3, .*; received 16; choose 15"):
        experiments.run(SETTINGS, "dep", "nowhere", verbose=0)


@TORCH
def test_gradients_are_averaged_once_per_update(monkeypatch):
    sgd = keras_dep.CoupledWeightDecay(keras.optimizers.SGD(0.1), 0.0)
    optimizer = keras_dep.DEP(sgd, gradient_accumulation_steps=2)
    weight, calls = keras.Variable(np.ones((2, 2))), []

    def reduced(gradients):
        if distribution.workers().reducing:
            calls.append(gradients)
        return gradients

    monkeypatch.setattr(distribution.workers(), "reduced", reduced)
    for _ in range(4):
        optimizer.apply([keras.ops.ones((2, 2))], [weight])
    assert len(calls) == 2


@pytest.mark.parametrize(
    "changed, method, message",
    [
        ({}, "stog", "layers must not draw at random .*; received . generators in"),
        ({}, "free_at", "methods must update the weights once per batch .*; received free_at"),
        ({"precision": "mixed_float16"}, "sgd", "precision must not be mixed_float16 with "),
    ],
)
def test_runs_whose_workers_would_differ_are_refused(
    changed, method, message, monkeypatch, tmp_path
):
    monkeypatch.setattr(distribution.workers(), "count", 2)
    monkeypatch.setitem(vgg.STAGES, "vgg5", NARROW["vgg5"])
    with pytest.raises(ValueError, match=message):
        experiments.run(dataclasses.replace(SETTINGS, **changed), method, tmp_path, verbose=0)
