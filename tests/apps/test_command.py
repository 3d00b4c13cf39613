"""What the apps share, played in processes of their own."""

import contextlib
import importlib
import os
import pathlib
import platform
import signal
import subprocess
import sys
import time

import keras
import pytest

from apps import command

if keras.backend.backend() != "torch":
    pytest.skip("command lines are read alike on every backend", allow_module_level=True)

# New pages of the second of two blocks of a quarter of a gigabyte.
FREEING = """
import resource
from apps import command
command.keep_memory()
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = b"1" * 2**28
    del block
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="others keep memory by themselves")
def test_memory_that_was_freed_comes_back_without_new_pages():
    counted = []
    for own in ({}, {"MALLOC_MMAP_MAX_": "65536"}):
        found = subprocess.run(
            [sys.executable, "-c", FREEING], cwd=ROOT, env={**os.environ, **own}, text=True,
            capture_output=True, check=True,
        )  # fmt: skip
        counted.append(int(found.stdout))
    # 65,536 pages of the usual size, or 128 huge ones.
    assert counted[1] >= 128 and counted[0] < 0.1 * counted[1]


@pytest.mark.parametrize("name", ["attack", "hessian", "hetero_train"])
def test_every_app_sets_up_its_framework_ahead_of_keras(name, monkeypatch):
    def told(backend):
        sys.exit(f"set up {backend}")

    monkeypatch.setattr(command, "set_up", told)
    app = importlib.import_module(f"apps.{name}")
    try:
        with pytest.raises(SystemExit, match="set up jax"):
            app.launch([name, "--backend=jax"])
    finally:
        app.FLAGS.unparse_flags()


def test_what_the_user_has_set_stays(monkeypatch):
    for own, kernels in (("0", "0"), (None, "1")):
        monkeypatch.setenv("KERAS_BACKEND", "torch")
        monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
        if own:
            monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", own)
        command.set_up(None)
        assert os.environ["KERAS_BACKEND"] == "torch"
        assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == kernels
    command.set_up("jax")
    assert os.environ["KERAS_BACKEND"] == "jax"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_the_block_whatever_the_block_makes_of_it(number):
    before = [signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)]
    cleaned = []

    def heeded():
        try:
            signal.raise_signal(number)
        finally:
            # Cleaning up takes longer than until the next one.
            time.sleep(4 * command.AGAIN)
            cleaned.append(number)

    def turned_into_an_error():
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(number)
        raise ValueError

    def swallowed():
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(number)
        signal.pause()

    for ending in (heeded, turned_into_an_error, swallowed):
        with pytest.raises(KeyboardInterrupt), command.until_stopped():
            ending()
        # Nothing is left that could end the process later.
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
        after = [signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)]
        assert after == before
    assert cleaned == [number]


def test_without_an_interrupt_an_error_stays_what_it_is():
    with pytest.raises(ValueError, match="mine"), command.until_stopped():
        raise ValueError("mine")
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
