"""One attempt at a reproduction, for a process that may be killed at any moment."""

import contextlib
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from apps import reproduce
from keras_dep.studies import catalogue  # noqa: F401
from keras_dep.studies import scales
from tests.apps.test_reproduce import TINY


def attempt(out_dir, log):
    """Runs the app on table 2 and exits with its status; its output goes to a file."""
    scales.SCALES["tiny"] = TINY
    argv = ["reproduce.py", "--scale=tiny", f"--out_dir={out_dir}", "--table=2"]
    with open(log, "w") as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        reproduce.launch(argv)
