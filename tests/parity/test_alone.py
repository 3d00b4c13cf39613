"""One framework is enough: a whole run, with no other one to be found."""

import subprocess
import sys

import keras

FRAMEWORKS = ("torch", "tensorflow", "jax")


def test_a_run_needs_no_other_framework(tmp_path):
    others = [name for name in FRAMEWORKS if name != keras.backend.backend()]
    command = [sys.executable, "-m", "tests.parity.lone_run", str(tmp_path), *others]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    # Two ordinary steps and the poisoned one.
    assert run.stdout.split() == ["3"]
    assert (tmp_path / "model.keras").exists()
