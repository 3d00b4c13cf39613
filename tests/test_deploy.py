"""The files under deploy/ parse, and the commands that they run are commands of the app."""

import copy
import os
import pathlib
import shlex
import subprocess

import keras
import pytest
import yaml

from apps import reproduce
from keras_dep.studies import shards

ROOT = pathlib.Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
SLURM = {
    "SLURM_JOB_NODELIST": "node[1-4]",
    "SLURM_JOB_NUM_NODES": "4",
    "SLURM_CPUS_PER_TASK": "16",
    "SLURM_GPUS_ON_NODE": "4",
    "SLURM_ARRAY_TASK_ID": "3",
    "SLURM_ARRAY_TASK_COUNT": "8",
    "DATA_DIR": "/shared/data",
}
# Commands that say what they were called with, and scontrol as it answers.
COMMANDS = {
    "python": 'printf "python"; printf " %q" "$@"; echo',
    "srun": 'printf "srun"; printf " %q" "$@"; echo',
    "scontrol": "printf 'node%s\\n' 1 2 3 4",
}

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="the files are the same on every backend"
)


def flags_of(words):
    """The flags of the app in a command."""
    (start,) = [i for i, word in enumerate(words) if word.endswith("apps/reproduce.py")]
    values = copy.deepcopy(reproduce.FLAGS)
    assert values(words[start:]) == [words[start]]
    return values


@pytest.fixture
def ran(tmp_path):
    """Runs a batch script with the variables of Slurm; what it calls, in words."""
    binaries = tmp_path / "venv" / "bin"
    binaries.mkdir(parents=True)
    for name, text in COMMANDS.items():
        (binaries / name).write_text(f"#!/bin/bash\n{text}\n")
        (binaries / name).chmod(0o755)
    (binaries / "activate").write_text(f'PATH="{binaries}:$PATH"\n')

    def run(name, **variables):
        path = DEPLOY / name
        subprocess.run(["bash", "-n", path], check=True)
        environment = {**os.environ, **SLURM, "VENV": str(tmp_path / "venv"), **variables}
        done = subprocess.run(
            ["bash", path], cwd=ROOT, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return shlex.split(done.stdout)

    return run


def test_the_allocation_runs_ray_on_every_node(ran):
    words = ran("slurm-ray.sbatch")
    start = words.index("symmetric-run")
    assert words[:4] == ["srun", "--nodes=4", "--ntasks=4", "ray"] and start == 4
    options, command = words[start + 1 : words.index("--")], words[words.index("--") + 1 :]
    assert dict(zip(options[::2], options[1::2])) == {
        "--address": "node1:6379",
        "--min-nodes": "4",
        "--num-cpus": "16",
        "--num-gpus": "4",
    }
    found = flags_of(command)
    assert (found.engine, found.gpus_per_run, found.retries) == ("ray", 1.0, -1)
    assert found.data_dir == "/shared/data"


def test_a_task_of_the_array_trains_its_shard(ran):
    found = flags_of(ran("slurm-array.sbatch"))
    assert shards.parse(found.shard) == shards.Shard(number=3, count=8) and found.train
    tables = flags_of(ran("slurm-array.sbatch", TABLES="1"))
    assert tables.shard is None and not tables.train and tables.out_dir == found.out_dir


def test_the_manifest_is_a_ray_job():
    job = yaml.safe_load((DEPLOY / "rayjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    found = flags_of(shlex.split(job["spec"]["entrypoint"]))
    assert (found.engine, found.scale, found.out_dir) == ("ray", "paper", "/shared/paper")
    yaml.safe_load(job["spec"]["runtimeEnvYAML"])
    cluster = job["spec"]["rayClusterSpec"]
    (workers,) = cluster["workerGroupSpecs"]
    for group in (cluster["headGroupSpec"], workers):
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        (mount,), (volume,) = container["volumeMounts"], pod["volumes"]
        assert mount["name"] == volume["name"] and found.out_dir.startswith(mount["mountPath"])
        assert found.data_dir.startswith(mount["mountPath"])
    # A run fits a worker, and none is placed on the head.
    limits = container["resources"]["limits"]
    assert found.cpus_per_run <= int(limits["cpu"])
    assert found.gpus_per_run <= int(limits["nvidia.com/gpu"])
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
