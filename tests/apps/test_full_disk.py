"""The app when the disk gives out, played by the limit that the system sets on a file's size."""

import os
import pathlib
import subprocess
import sys

import keras
import pytest

pytest.importorskip("resource", reason="only POSIX systems limit the size of files")
if keras.backend.backend() != "torch":
    pytest.skip("files are written alike on every backend", allow_module_level=True)

ROOT = pathlib.Path(__file__).parents[2]
SMALL = (
    "--train_examples=48", "--test_examples=16", "--batch_size=16", "--timesteps=2", "--epochs=1",
    "--attack_examples=8", "--watch_examples=16", "--hessian_examples=0", "--verbose=0",
    "--optimizer=sgd",
)  # fmt: skip
LIMITED = """
import resource, runpy, sys
limit = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
sys.argv = ["apps/hetero_train.py", *sys.argv[2:]]
sys.path.insert(0, ".")
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.parametrize(
    "what, limit, arguments",
    [("events", 600, ()), ("state", 30_000, ()), ("weights", 30_000, ["--keep_epochs"])],
    ids=["events", "state", "weights"],
)
def test_one_line_and_nothing_half_written(tmp_path, what, limit, arguments):
    out = tmp_path / "out"
    done = launch(out, limit, *arguments)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("hetero_train: ")
    assert "File too large" in line and "bytes free" in line and f"{out}/sgd" in line
    assert what in line and "Traceback" not in done.stderr
    left = [path.name for path in (out / "sgd").rglob("*") if "tfevents" not in path.name]
    assert left == (["epochs"] if what == "weights" else [])
    if what == "state":
        assert launch(out, 10**9, "--resume").returncode == 0
        assert (out / "sgd/result.json").exists() and (out / "sgd/model.keras").exists()


def launch(out, limit, *arguments):
    """The app under a limit on the bytes of a file."""
    return subprocess.run(
        [sys.executable, "-c", LIMITED, str(limit), f"--out_dir={out}", *SMALL, *arguments],
        cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        timeout=240,
    )
