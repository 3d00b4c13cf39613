"""Command lines, signals and exit statuses of the apps, in processes of their own."""

import importlib
import os
import pathlib
import platform
import shlex
import signal
import subprocess
import sys
import warnings

import keras
import pytest

from apps import command

if keras.backend.backend() != "torch":
    pytest.skip("command lines are read alike on every backend", allow_module_level=True)

# Prints the pages that the second of two blocks of a quarter of a gigabyte takes from the system.
FREEING = """
import resource, sys
from apps import command
def launch(argv):
    for _ in range(2):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        block = b"1" * 2**28
        del block
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before, *argv[1:])
    sys.exit()
command.finish(launch, sys.argv)
"""
ROOT = pathlib.Path(__file__).parents[2]
# Without Keras, whose import takes seconds and prints nothing.
TALKATIVE = """
from absl import flags
from apps import command
command.import_keras = str
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
        pages, *arguments = python("-c", FREEING, "a b", "", environment=own).stdout.split(" ")
        assert arguments == ["a", "b", "\n"]
        counted.append(int(pages))
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


# Blocks that would swallow, replace or miss an exception of a signal handler.
BLOCKS = {
    "waiting": "signal.pause()",
    "swallowing": """
while True:
    try:
        time.sleep(9)
    except BaseException:
        pass""",
    "raising another": """
try:
    time.sleep(99)
except BaseException:
    raise ValueError""",
    "in a destructor": """
class Lasting:
    def __del__(self):
        time.sleep(99)
Lasting()""",
    "in a call from C": "sorted([2, 1], key=lambda number: time.sleep(99))",
}
INTERRUPTED = """
import atexit, os, signal, sys, threading, time
from apps import command
def launch(argv):
    with command.until_stopped("app", lambda: "go on."):
        threading.Timer(0.2, os.kill, (os.getpid(), int(argv[1]))).start()
        sys.stdout.write("written")
        exec(argv[2])
atexit.register(print, "the interpreter's shutdown")
command.finish(launch, sys.argv)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
def test_an_interrupt_ends_the_process_in_every_block(number, block):
    ended = python("-c", INTERRUPTED, str(int(number)), block)
    assert (ended.returncode, ended.stdout, ended.stderr) == (
        130,
        "written",
        "app: stopped; go on.\n",
    )


def test_signal_handlers_are_restored_after_the_block():
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    with pytest.raises(ValueError, match="mine"), command.until_stopped("app", str):
        assert all(signal.getsignal(number) not in before for number in numbers)
        raise ValueError("mine")
    assert [signal.getsignal(number) for number in numbers] == before


ENDING = """
import atexit, sys
from apps import command
atexit.register(print, "the interpreter's shutdown")
def launch(argv):
    sys.stdout.write("written")
    sys.exit({status!r})
command.finish(launch, sys.argv)
"""


@pytest.mark.parametrize("status, code", [(0, 0), (None, 0), (2, 2), (141, 141), ("words", 1)])
def test_the_status_is_the_app_s_and_the_output_whole(status, code):
    ended = python("-c", ENDING.format(status=status))
    assert (ended.returncode, ended.stdout) == (code, "written")
    assert ended.stderr == ("words\n" if status == "words" else "")


def test_a_warning_is_one_line_without_a_path():
    code = TALKATIVE.replace(
        'print("word " * 99) for _ in range(99)', "command.warnings.warn('late')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stderr == "app: late\n"


def test_a_mistake_of_ours_keeps_its_traceback():
    ended = python("-c", ENDING.replace("sys.exit({status!r})", "1 / 0"))
    assert ended.returncode == 1 and "ZeroDivisionError" in ended.stderr


NOISY = """
import os, sys
from apps import command
with command.alone("_internal/quiet").without_import_log():
    os.write(2, b"WARNING: All log messages before absl::InitializeLog() is called\\n")
    os.write(2, b"I0000 00:00:1795872442.928789 7137 port.cc:153] oneDNN is on\\n")
    os.write(2, b"E0000 00:00:1795872442.928789 7137 a.cc:1] broken\\n")
    print("a warning", file=sys.stderr)
print("behind", file=sys.stderr)
"""


def test_only_known_lines_are_left_out_of_an_import():
    said = python("-c", NOISY).stderr.splitlines()
    assert said == ["E0000 00:00:1795872442.928789 7137 a.cc:1] broken", "a warning", "behind"]


def test_a_folder_is_named_and_shown_as_a_shell_takes_it():
    for empty in ("", "  "):
        with pytest.raises(ValueError, match=f"out_dir must name a folder; received '{empty}'"):
            command.folder("out_dir", empty)
    assert command.folder("out_dir", "~/runs") == os.path.expanduser("~/runs")
    assert command.board("runs/a") == "tensorboard --logdir runs/a"
    line = command.board("/my runs/it's; rm *")
    assert shlex.split(line) == ["tensorboard", "--logdir", "/my runs/it's; rm *"]


def python(*arguments, environment=None):
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
    )


def test_a_warning_is_one_line_and_said_once(monkeypatch):
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    command.plain_warnings("app")
    shown = [warnings.formatwarning(text, UserWarning, "file.py", 1) for text in ("a", "b", "a")]
    assert shown == ["app: a\n", "app: b\n", ""]
