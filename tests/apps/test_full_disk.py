"""The app when the disk gives out, played by the limit that the system sets on a file's size."""

import json
import os
import pathlib
import subprocess
import sys

import keras
import pytest

from apps import command

pytest.importorskip("resource", reason="only POSIX systems limit the size of files")
if keras.backend.backend() != "torch":
    pytest.skip("files are written alike on every backend", allow_module_level=True)

ROOT = pathlib.Path(__file__).parents[2]
SMALL = [
    "--train_examples=48",
    "--test_examples=16",
    "--batch_size=16",
    "--timesteps=2",
    "--epochs=1",
    "--attack_examples=8",
    "--watch_examples=16",
    "--hessian_examples=0",
    "--verbose=0",
    "--optimizer=sgd",
]
# Name of the case: the limit on the bytes of a file, the folder and further flags.
CASES = {
    "events": (600, "events", []),
    "state": (30_000, "state", []),
    "state resumed": (10**9, "state", ["--resume"]),
    "weights": (30_000, "weights", ["--keep_epochs"]),
}
# Imports Keras once and forks for each case; prints its status, errors and files as JSON.
LIMITED = """
import json, os, pathlib, resource, runpy, sys
import keras
outcomes = []
for limit, folder, arguments in json.loads(sys.argv[1]):
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        os.dup2(writer, 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.close(reader)
        sys.argv = ["apps/hetero_train.py", f"--out_dir={folder}", *arguments]
        sys.path.insert(0, ".")
        runpy.run_path(sys.argv[0], run_name="__main__")
        os._exit(99)
    os.close(writer)
    with open(reader) as errors:
        text = errors.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    files = [path.name for path in (pathlib.Path(folder) / "sgd").rglob("*")]
    outcomes.append([status, text, files])
print(json.dumps(outcomes))
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Of each case the status, the errors, the names of files left, and the folder."""
    root = tmp_path_factory.mktemp("disk")
    given = [(limit, str(root / name), SMALL + flags) for limit, name, flags in CASES.values()]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, json.dumps(given)],
        cwd=ROOT,
        # A fork must not start Python again.
        env={**os.environ, **command.KEEP_MEMORY, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    folders = [folder for _, folder, _ in given]
    return {
        name: (*outcome, folder)
        for name, outcome, folder in zip(CASES, json.loads(done.stdout), folders)
    }


@pytest.mark.parametrize("what", ["events", "state", "weights"])
def test_one_line_and_nothing_half_written(outcomes, what):
    status, errors, files, out = outcomes[what]
    assert status == 2, errors
    (line,) = errors.splitlines()
    assert line.startswith("hetero_train: ")
    assert "File too large" in line and "bytes free" in line and f"{out}/sgd" in line
    assert what in line and "Traceback" not in errors
    left = [name for name in files if "tfevents" not in name]
    assert left == (["epochs"] if what == "weights" else [])


def test_with_room_again_the_run_goes_on(outcomes):
    status, _, files, _ = outcomes["state resumed"]
    assert status == 0 and {"result.json", "model.keras"} <= set(files)
