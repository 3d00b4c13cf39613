"""What the apps share, played in processes of their own."""

import os
import pathlib
import subprocess
import sys

import keras
import pytest

if keras.backend.backend() != "torch":
    pytest.skip("command lines are read alike on every backend", allow_module_level=True)

ROOT = pathlib.Path(__file__).parents[2]
TALKATIVE = """
from absl import flags
from apps import command
FLAGS = flags.FlagValues()
flags.DEFINE_string("backend", None, "", flag_values=FLAGS)
command.launch(["app"], "app", "", FLAGS, lambda: [print("word " * 99) for _ in range(99)], str)
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["apps/attack.py", "--help"],
        ["apps/hessian.py", "--help"],
        ["apps/hetero_train.py", "--help"],
        ["-c", TALKATIVE],
    ],
    ids=["attack", "hessian", "hetero_train", "output"],
)
def test_a_reader_that_goes_away_ends_the_app_without_a_word(arguments):
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.close()
    said = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait(120) == 141 and "Traceback" not in said and "Error" not in said, said
