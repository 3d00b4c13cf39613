"""A reproduction killed at ten random moments ends with the tables of an unbroken one."""

import importlib
import multiprocessing
import os
import signal
import sys
import time

import keras
import numpy as np
import pytest

KILLS = 10
LIMIT = 500


@pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="compiling its networks takes minutes elsewhere"
)
def test_ten_kills_change_no_table(tmp_path, monkeypatch):
    folder = os.path.dirname(os.path.abspath(__file__))
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["reproduce_worker"])
    worker = importlib.import_module("reproduce_worker")
    log = tmp_path / "log"

    def attempt(out_dir, limit):
        process = context.Process(target=worker.attempt, args=(str(out_dir), str(log)))
        started = time.monotonic()
        process.start()
        process.join(limit)
        process.kill()
        process.join()
        return process.exitcode, time.monotonic() - started

    status, whole = attempt(tmp_path / "unbroken", LIMIT)
    assert status == 0, log.read_text()
    draw = np.random.default_rng(0)
    # Together about as long as the whole: kills fall into training, measurement and rendering.
    moments = draw.uniform(0, 2 * whole / KILLS, KILLS)
    codes = [attempt(tmp_path / "killed", moment)[0] for moment in moments]
    assert codes.count(-signal.SIGKILL) >= KILLS / 2, codes
    status, _ = attempt(tmp_path / "killed", LIMIT)
    assert status == 0, log.read_text()
    tables = [(tmp_path / each / "table-2.csv").read_text() for each in ("unbroken", "killed")]
    assert tables[0] == tables[1] and tables[0].count("\n") > 5
