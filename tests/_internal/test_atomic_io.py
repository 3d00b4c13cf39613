"""Whole files: nothing under the name before the end, nothing beside it after a failure."""

import contextlib
import errno
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from keras_dep._internal import atomic_io


def test_the_name_appears_with_the_whole_content(tmp_path):
    path = tmp_path / "result.json"
    with atomic_io.whole_file(path) as unfinished:
        with open(unfinished, "w") as file:
            file.write("[1")
            file.flush()
            assert not path.exists() and os.path.splitext(unfinished)[1] == ".json"
            file.write("]")
    assert path.read_text() == "[1]" and os.listdir(tmp_path) == ["result.json"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("writer"), ValueError("x")])
def test_a_failing_block_leaves_what_was_there(tmp_path, error):
    path = tmp_path / "result.json"
    path.write_text("old")
    with pytest.raises(type(error)) as caught, atomic_io.whole_file(path) as unfinished:
        with open(unfinished, "w") as file:
            file.write("new")
        raise error
    assert caught.value is error
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["result.json"]


def test_a_full_disk_is_one_line_with_name_and_space(tmp_path):
    path = tmp_path / "model.keras"
    with pytest.raises(
        OSError, match=r"model\.keras: .*No space left; 2.*\d+ bytes free"
    ) as caught:
        with atomic_io.whole_file(path) as unfinished:
            with open(unfinished, "w") as file:
                file.write("half")
            raise OSError(errno.ENOSPC, "No space left;\n  2 lines")
    assert caught.value.errno == errno.ENOSPC and "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(OSError, match="gone/x: .*unknown bytes free"):
        with atomic_io.whole_file(tmp_path / "gone/x") as unfinished, open(unfinished, "w"):
            pass


HOLDING = """
import importlib.util, sys, time
spec = importlib.util.spec_from_file_location("durable", sys.argv[1])
durable = importlib.util.module_from_spec(spec)
spec.loader.exec_module(durable)
with durable.claimed(sys.argv[2]):
    print("claimed", flush=True)
    time.sleep(60)
"""


def test_a_claimed_folder_is_refused_until_its_process_is_dead(tmp_path):
    pytest.importorskip("fcntl", reason="there are no such locks")
    folder = tmp_path / "run"
    command = [sys.executable, "-c", HOLDING, atomic_io.__file__, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"claimed\n"
        with pytest.raises(ValueError, match=f"'{folder}' is in use by another process; wait"):
            with atomic_io.claimed(folder):
                pass
        holder.send_signal(signal.SIGKILL)
    # What is left of the dead one is in nobody's way.
    assert os.listdir(folder) == [atomic_io.CLAIM]
    for _ in range(2):
        with atomic_io.claimed(folder):
            assert os.listdir(folder) == [atomic_io.CLAIM]
            with pytest.raises(ValueError, match="in use"), atomic_io.claimed(folder):
                pass
        assert os.listdir(folder) == []


def test_a_claim_ends_with_the_error_of_its_block(tmp_path):
    with contextlib.suppress(KeyboardInterrupt), atomic_io.claimed(tmp_path):
        raise KeyboardInterrupt
    with atomic_io.claimed(tmp_path):
        pass
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"), atomic_io.claimed(tmp_path / "file"):
        pass


def test_locks_of_other_names_and_patience(tmp_path):
    with atomic_io.claimed(tmp_path), atomic_io.claimed(tmp_path, "other.lock"):
        started = time.monotonic()
        with pytest.raises(ValueError, match="in use"), atomic_io.claimed(tmp_path, patience=0.6):
            pass
        assert 0.6 <= time.monotonic() - started < 30
    # A lock that ends while another process waits for it.
    holder = atomic_io.claimed(tmp_path)
    holder.__enter__()
    timer = threading.Timer(0.3, holder.__exit__, (None, None, None))
    timer.start()
    with atomic_io.claimed(tmp_path, patience=30):
        timer.join()
    assert os.listdir(tmp_path) == []
