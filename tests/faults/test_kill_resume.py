"""A run killed several times ends with exactly the weights of an uninterrupted run."""

import importlib
import multiprocessing
import os
import signal
import sys

import pytest

# Where each attempt dies, and the epoch at which it must have begun.
DEATHS = [
    (("batch", 1, 4), 0),
    # In the save of the second epoch: first before its file is named, then just after.
    (("fsync", 1, False), 1),
    (("replace", 1, True), 1),
    # One save succeeds, the next one gets as far as its renaming.
    (("replace", 2, False), 2),
]
LIMIT = 120


@pytest.fixture
def attempt(monkeypatch):
    """Runs one attempt in a fresh process, forked from a server that has imported Keras once."""
    folder = os.path.dirname(os.path.abspath(__file__))
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["resume_worker"])
    worker = importlib.import_module("resume_worker")

    def run(folder, seed, death):
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=worker.attempt, args=(str(folder), seed, death, sender))
        process.start()
        sender.close()
        reports = []
        try:
            while receiver.poll(LIMIT):
                reports.append(receiver.recv())
        except EOFError:
            process.join(LIMIT)
        finally:
            process.kill()
        return process.exitcode, *reports

    return run


def test_killed_run_ends_with_the_bits_of_an_unbroken_one(tmp_path, attempt):
    exit_code, first_epoch, unbroken = attempt(tmp_path / "unbroken", 0, None)
    assert (exit_code, first_epoch) == (0, 0)
    for seed, (death, expected_epoch) in enumerate(DEATHS):
        exit_code, first_epoch = attempt(tmp_path / "killed", seed, death)
        assert (exit_code, first_epoch) == (-signal.SIGKILL, expected_epoch)
    exit_code, first_epoch, killed = attempt(tmp_path / "killed", len(DEATHS), None)
    assert (exit_code, first_epoch) == (0, 3)
    assert killed == unbroken
    assert len(killed[1]) == 4
