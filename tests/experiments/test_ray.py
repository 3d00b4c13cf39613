"""The Ray engine on two local nodes, one of which dies while it trains."""

import contextlib
import functools
import glob
import os
import time

import keras
import psutil
import pytest
import safetensors.numpy

from keras_dep._internal import atomic_io
from keras_dep.experiments import engines
from keras_dep.experiments import grid
from tests.support import event_files

SHORT = {
    "train_examples": 16,
    "test_examples": 8,
    "batch_size": 8,
    "timesteps": 2,
    "epochs": 2,
    "attack_examples": 4,
    "watch_examples": 4,
    "hessian_examples": 0,
    "eval_steps": 2,
}
LOOPBACK = {"node_ip_address": "127.0.0.1", "object_store_memory": 80 * 2**20}
# Ray finds out within a second that a node is gone.
HEALTH = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 300,
    "health_check_failure_threshold": 3,
}

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="workers of other backends compile for minutes"
)


@pytest.fixture
def nodes(monkeypatch):
    """Two nodes of one processor each on the loopback device, as a list of cluster and nodes."""
    # Ray then takes the loopback device for the address of this machine.
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    # Ray would end tasks when other programs fill the memory of the machine.
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "0")
    ray = pytest.importorskip("ray", reason="ray is missing; it comes with the extra cluster")
    from ray.cluster_utils import Cluster

    # Other tests of this process may have servers of their own.
    others = psutil.Process().children(recursive=True)
    head = {**LOOPBACK, "num_cpus": 0, "include_dashboard": False, "_system_config": HEALTH}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        found = [cluster.add_node(num_cpus=1, **LOOPBACK) for _ in range(2)]
        ray.init(cluster.address, log_to_driver=False, logging_level="error")
        yield cluster, *found
    finally:
        started = [each for each in psutil.Process().children(recursive=True) if each not in others]
        ray.shutdown()
        cluster.shutdown()
    _, left = psutil.wait_procs(started, timeout=30)
    assert not left


def training_on(node):
    """A worker of a node that trains, and the folder of its run, which it has locked."""
    (raylet,) = node.all_processes["raylet"]
    for worker in psutil.Process(raylet.process.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            for path in (file.path for file in worker.open_files()):
                folder = os.path.dirname(path)
                if path.endswith(atomic_io.CLAIM) and glob.glob(f"{folder}/events.*"):
                    worker.suspend()
                    return worker, folder
    return None


def bits(folder):
    """The variables after training by their numbers: names count the layers of a process."""
    arrays = safetensors.numpy.load_file(os.path.join(folder, f"state.{SHORT['epochs'] % 2}"))
    return {tuple(name.split("/")[:2]): each.tobytes() for name, each in arrays.items()}


def test_a_lost_node_leaves_no_trace_in_the_results(nodes, tmp_path):
    cluster, doomed, _ = nodes
    cells = grid.product(SHORT, ["sgd", "dep", "hosnn"], range(4))
    out_dir, alone = str(tmp_path / "ray"), str(tmp_path / "local")
    lines, broken = [], []

    def report(line):
        lines.append(line)
        if line.startswith("2 of 12"):
            while (found := training_on(doomed)) is None:
                time.sleep(0.02)
            worker, folder = found
            broken.append(folder)
            # Without its node a worker ends too, but it might finish its run first.
            cluster.remove_node(doomed, allow_graceful=False)
            worker.kill()

    done = grid.train(cells, out_dir, report, engine=engines.Ray())
    reference = grid.train(cells, alone)
    assert [each.reason for each in (*done, *reference)] == [None] * 24
    titles = [line.split(": ", 1)[1].rsplit(" (", 1)[0] for line in lines if " of 12: " in line]
    assert sorted(titles) == sorted(map(grid.describe, cells))
    # The run on the dead node began twice; each run was finished once.
    (folder,) = broken
    assert len(glob.glob(os.path.join(folder, "events.*"))) == 2
    for here, there in zip(done, reference):
        finished = event_files.accumulate(here.folder)
        assert len(event_files.tensors(finished, "result/clean")) == 1
        assert bits(here.folder) == bits(there.folder)
        for name in ("accuracy", "history", "evaluation", "collapse", "steps", "method"):
            assert here.result[name] == there.result[name], name
    # A process that dies each time is a failure, and so is what needs it.
    reasons = []
    tasks = [
        engines.Task(
            key=(str(status),),
            title=f"exit {status}",
            call=functools.partial(os._exit, status),
            after=[(str(status - 1),)],
            fail=reasons.append,
        )
        for status in (1, 2)
    ]
    found = engines.Ray(retries=0).carry_out(tasks, lines.append)
    assert list(found) == [("1",), ("2",)] and list(found.values()) == reasons
    assert all("\n" not in reason and "WorkerCrashedError" in reason for reason in reasons)


def test_a_cluster_out_of_reach_is_one_line(monkeypatch):
    ray = pytest.importorskip("ray", reason="ray is missing; it comes with the extra cluster")

    def refused(**options):
        raise ConnectionError("\nFailed to connect\nto Ray")

    monkeypatch.setattr(ray, "init", refused)
    task = engines.Task(key=("a",), title="a", call=lambda: None)
    with pytest.raises(
        ValueError, match="received 'Failed to connect'; check RAY_ADDRESS"
    ) as found:
        engines.Ray().carry_out([task], print)
    assert "\n" not in str(found.value)
