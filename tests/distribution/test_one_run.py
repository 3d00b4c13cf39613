"""A whole run on two workers ends as on one, and a worker that dies changes nothing."""

import contextlib
import dataclasses
import json
import os
import pathlib
import socket
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
from tests.distribution.one_run import MEASURED
from tests.distribution.one_run import NARROW
from tests.distribution.one_run import SETTINGS
from tests.distribution.one_run import measurements

ROOT = pathlib.Path(__file__).parents[2]
BACKEND = keras.backend.backend()
ENGINES = [name for name, backend in distribution.ENGINES.items() if backend == BACKEND]
# The engine of JAX over processes in place of the devices of one.
PROCESSES = "data_parallel over processes"
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=1")
LIMIT = 400


def start(*command, **environment):
    """Starts Python on a command, on the processor alone."""
    hidden = {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu", "GLOO_SOCKET_IFNAME": "lo"}
    return subprocess.Popen(
        [sys.executable, *map(str, command)],
        cwd=ROOT,
        env={**os.environ, **hidden, **environment, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def launch(engine, *arguments):
    """Runs the workers of an engine to their end; returns their statuses and errors."""
    command = "-m", "tests.distribution.one_run", engine, *arguments
    if engine == "ddp":
        workers = [start(*TORCHRUN, *command)]
    elif engine == "multiworker":
        addresses = [f"127.0.0.1:{port}" for port in free_ports(2)]
        tasks = [{"type": "worker", "index": index} for index in range(2)]
        cluster = {"worker": addresses}
        configs = [json.dumps({"cluster": cluster, "task": task}) for task in tasks]
        workers = [start(*command, TF_CONFIG=config) for config in configs]
    elif engine == PROCESSES:
        (port,) = free_ports(1)
        names = ("JOB_ADDRESSES", "NUM_PROCESSES", "PROCESS_ID")
        given = [(f"127.0.0.1:{port}", "2", str(index)) for index in range(2)]
        command = "-m", "tests.distribution.one_run", "data_parallel", *arguments
        workers = [
            start(*command, **{f"KERAS_DISTRIBUTION_{n}": v for n, v in zip(names, values)})
            for values in given
        ]
    else:
        workers = [start(*command)]
    errors = [worker.communicate(timeout=LIMIT)[1] for worker in workers]
    return [worker.returncode for worker in workers], errors


def free_ports(count):
    with contextlib.ExitStack() as opened:
        sockets = [opened.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def run(engine, folder, *arguments):
    statuses, errors = launch(engine, folder, *arguments)
    assert not any(statuses), errors[0][-4000:]
    return state_file.newest(folder / "state"), json.loads((folder / "result.json").read_text())


@pytest.fixture(scope="module", params=[*ENGINES, PROCESSES] if BACKEND == "jax" else ENGINES)
def two_workers(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    return request.param, folder, *run(request.param, folder)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(vgg.STAGES, "vgg5", NARROW["vgg5"])
        result = experiments.run(SETTINGS, "dep", folder, verbose=0)
    return folder, state_file.newest(folder / "state"), result


def test_two_workers_end_where_one_does(two_workers, alone):
    _, folder, state, result = two_workers
    _, expected, wanted_result = alone
    for found, wanted in zip(state.variables.values(), expected.variables.values(), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert state.iterations == 22
    # The images are counted over both workers.
    assert result["accuracy"] == wanted_result["accuracy"]
    assert result["worst_after_poison"] == wanted_result["worst_after_poison"]
    for name, values in wanted_result["history"].items():
        np.testing.assert_allclose(result["history"][name], values, rtol=5e-3, err_msg=name)
    poisoned = result["poisoned_batches"], wanted_result["poisoned_batches"]
    for found, wanted in zip(*poisoned, strict=True):
        assert found["place"] == wanted["place"]
        assert found["loss"] == pytest.approx(wanted["loss"], rel=1e-4)
    # One worker has written.
    assert len(list(folder.glob("events.*"))) == 1


def test_two_workers_share_what_one_measures(two_workers, alone):
    engine, folder, _, _ = two_workers
    alone_folder, _, result = alone
    found, batches = json.loads((folder / MEASURED).read_text())
    wanted, alone_batches = measurements(alone_folder, result)
    for values, expected in zip(found, wanted, strict=True):
        np.testing.assert_allclose(values, expected, rtol=1e-3)
    # Devices of one process share each batch.
    processes = 1 if engine in ("mirrored", "data_parallel") else 2
    assert alone_batches > 1 and batches == -(-alone_batches // processes)


def test_a_worker_that_dies_in_an_epoch_changes_no_bit(two_workers, tmp_path):
    engine, _, unbroken, _ = two_workers
    if engine == PROCESSES:
        pytest.skip("JAX notices a lost process only after a minute")
    folder, mark = tmp_path / "run", tmp_path / "dead"
    if engine != "ddp":
        # torchrun alone starts the workers again by itself.
        statuses, _ = launch(engine, folder, mark)
        assert all(statuses)
    state, _ = run(engine, folder, mark)
    assert mark.exists()
    for found, wanted in zip(state.variables.values(), unbroken.variables.values(), strict=True):
        assert found.tobytes() == wanted.tobytes()
    assert state.history == unbroken.history


MENDS = {
    "ddp": "received RANK=''; start the program with torchrun",
    "mirrored": "needs at least 2 devices; received 1; set devices",
    "multiworker": "needs TF_CONFIG with the addresses of its workers; received TF_CONFIG=''",
    "data_parallel": "needs at least 2 devices; received 1; set devices",
}


@pytest.mark.parametrize("engine", distribution.ENGINES)
def test_a_start_that_cannot_be_is_one_line(engine, monkeypatch):
    for name in ("RANK", "TF_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    mend = MENDS[engine] if engine in ENGINES else f"needs the backend .*; received {BACKEND}; set"
    with pytest.raises(ValueError, match=mend) as caught:
        distribution.start(engine)
    assert "\n" not in str(caught.value)
    assert distribution.workers().engine is None


def test_wrong_engines_and_devices_are_one_line(monkeypatch):
    with pytest.raises(ValueError, match="distribute must be one of ddp, .*; received 'horovod'"):
        distribution.start("horovod")
    for engine in ENGINES:
        # Too late, or of an engine of processes.
        with pytest.raises(ValueError, match="^devices must be .*; received 3"):
            distribution.start(engine, devices=3)
    if "multiworker" in ENGINES:
        monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": []}, "task": {"type": "ps"}}')
        with pytest.raises(ValueError, match="needs TF_CONFIG .*; received .*ps"):
            distribution.start("multiworker")


@pytest.mark.skipif(BACKEND != "jax", reason="the other engines take local statistics")
def test_local_statistics_are_refused_where_a_program_sees_whole_batches():
    with pytest.raises(ValueError, match="statistics must be synchronised .*; received local; "):
        distribution.start("data_parallel", "local")


def test_batches_that_cannot_be_divided_are_refused(monkeypatch):
    workers = distribution.workers()
    monkeypatch.setattr(workers, "engine", "ddp")
    monkeypatch.setattr(workers, "count", 3)
    with pytest.raises(ValueError, match="multiple of 3, .*; received 16; choose 15"):
        experiments.run(SETTINGS, "dep", "nowhere", verbose=0)


@pytest.mark.skipif(BACKEND == "jax", reason="JAX has no engine of processes")
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


@pytest.mark.parametrize("method", ["dlif", "sr"])
def test_mirrored_takes_no_method_whose_replicas_differ(method, monkeypatch, tmp_path):
    monkeypatch.setattr(distribution.workers(), "engine", "mirrored")
    with pytest.raises(ValueError, match=f"^methods must .*; received {method}; choose dist"):
        experiments.run(SETTINGS, method, tmp_path, verbose=0)


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
    monkeypatch.setattr(distribution.workers(), "engine", "ddp")
    monkeypatch.setattr(distribution.workers(), "count", 2)
    monkeypatch.setitem(vgg.STAGES, "vgg5", NARROW["vgg5"])
    with pytest.raises(ValueError, match=message):
        experiments.run(dataclasses.replace(SETTINGS, **changed), method, tmp_path, verbose=0)
