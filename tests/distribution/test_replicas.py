"""DEP acts on the gradient of all replicas: two with half a batch each step like one with all."""

import json
import os
import pathlib
import socket
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from tests.support import replicas

ROOT = pathlib.Path(__file__).parents[2]
LIMIT = 200


def tensorflow_multi_worker():
    workers = [f"127.0.0.1:{port}" for port in free_ports(replicas.REPLICAS)]
    for index in range(replicas.REPLICAS):
        task = {"type": "worker", "index": index}
        yield {"TF_CONFIG": json.dumps({"cluster": {"worker": workers}, "task": task})}


def torch_data_distributed():
    (port,) = free_ports(1)
    for rank in range(replicas.REPLICAS):
        place = {"RANK": rank, "WORLD_SIZE": replicas.REPLICAS, "MASTER_PORT": port}
        place = {name: str(value) for name, value in place.items()}
        yield {**place, "MASTER_ADDR": "127.0.0.1", "GLOO_SOCKET_IFNAME": "lo"}


def free_ports(number):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [held.getsockname()[1] for held in sockets]
    for held in sockets:
        held.close()
    return ports


# The framework of each worker script, and the environment of each of its processes.
WORKERS = {
    "tensorflow_mirrored": ("tensorflow", lambda: [{}]),
    "tensorflow_multi_worker": ("tensorflow", tensorflow_multi_worker),
    "jax_data_parallel": (
        "jax",
        lambda: [{"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}],
    ),
    "torch_data_distributed": ("torch", torch_data_distributed),
}


def run_together(name, environments, arguments, logs):
    """Runs a worker script once per environment, and ends all of them when one fails."""
    # Devices are set before a framework starts, so no worker can live in this process.
    common = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}
    common["KERAS_BACKEND"] = keras.backend.backend()
    processes = []
    try:
        for index, environment in enumerate(environments):
            with open(logs / f"{index}.log", "w") as log:
                process = subprocess.Popen(
                    [sys.executable, "-m", f"tests.distribution.{name}", *arguments],
                    cwd=ROOT,
                    env={**common, **environment},
                    stdout=log,
                    stderr=log,
                )
            processes.append(process)
        end = time.monotonic() + LIMIT
        codes = [None]
        while None in codes and not any(codes) and time.monotonic() < end:
            time.sleep(0.1)
            codes = [process.poll() for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    if any(code != 0 for code in codes):
        texts = [path.read_text()[-4000:] for path in sorted(logs.glob("*.log"))]
        pytest.fail(f"exit codes {codes} after at most {LIMIT} s\n" + "\n".join(texts))


def distance(found, reference):
    return max(np.abs(found[f"weight_{i}"] - reference[f"weight_{i}"]).max() for i in range(4))


def concerning(backend, name):
    other = keras.backend.backend() != backend
    return pytest.param(name, marks=pytest.mark.skipif(other, reason=f"concerns {backend}"))


@pytest.mark.parametrize(
    "name", [concerning(backend, name) for name, (backend, _) in WORKERS.items()]
)
def test_two_replicas_with_half_a_batch_each_end_where_one_process_does(name, tmp_path):
    given = replicas.draw()
    np.savez(tmp_path / "given.npz", **given)
    _, environments = WORKERS[name]
    run_together(name, environments(), [tmp_path / "given.npz", tmp_path], tmp_path)
    whole = replicas.steps_in_numpy(given, parts=1)
    reduced = [np.load(path) for path in sorted(tmp_path.glob("reduced_*.npz"))]
    assert len(reduced) == replicas.REPLICAS
    for found in reduced:
        assert distance(found, whole) < 1e-5
        np.testing.assert_allclose(found["removed"], whole["removed"], atol=1e-5)
    # Some workers show that they would notice: there the replicas project before they reduce.
    apart = replicas.steps_in_numpy(given, parts=replicas.REPLICAS)
    for path in tmp_path.glob("apart_*.npz"):
        assert distance(np.load(path), apart) < 1e-5


def test_halves_projected_apart_end_elsewhere():
    given = replicas.draw()
    whole, apart = (replicas.steps_in_numpy(given, parts) for parts in (1, replicas.REPLICAS))
    assert distance(apart, whole) > 1e-3
