"""A state file torn, flipped, truncated or half written: the older generation is restored."""

import errno
import os
import re
import warnings

import pytest

from keras_dep.callbacks.resume import ResumeState
from keras_dep.training import state_file
from tests.support.small_run import bits
from tests.support.small_run import build
from tests.support.small_run import read
from tests.support.small_run import scramble
from tests.support.small_run import train
from tests.support.small_run import write


def damaged_restore(path, saved, damaged):
    """Restores from a damaged pair and checks that the older generation is restored exactly."""
    model = build(5)
    with pytest.warns(UserWarning, match=re.escape(damaged)) as caught:
        assert ResumeState(path).restore(model) == 1
    assert all("\n" not in str(warning.message) for warning in caught)
    assert bits(model) == saved[1][1]


def test_every_flipped_byte_is_found(saved, saved_path):
    newest = f"{saved_path}.0"
    content = read(newest)
    places = {*range(0, len(content), max(1, len(content) // 60)), *range(20), len(content) - 1}
    model, caught = build(), 0
    for place in sorted(places):
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        write(newest, flipped)
        with pytest.warns(UserWarning, match=re.escape(newest)):
            caught += ResumeState(saved_path).restore(model) == 1
    assert caught == len(places)
    damaged_restore(saved_path, saved, newest)


@pytest.mark.parametrize("size", [0, 1, 16, 31, 32, 33, 48, 500, -1])
def test_truncated_state_falls_back(saved, saved_path, size):
    newest = f"{saved_path}.0"
    content = read(newest)
    write(newest, content[:size])
    damaged_restore(saved_path, saved, newest)


def test_older_generation_may_be_damaged(saved, saved_path):
    write(f"{saved_path}.1", b"torn")
    model = build(5)
    with pytest.warns(UserWarning, match=re.escape(f"{saved_path}.1")):
        assert ResumeState(saved_path).restore(model) == 2
    assert bits(model) == saved[1][2]


@pytest.mark.parametrize("missing", [0, 1])
def test_one_generation_is_enough(saved, saved_path, missing):
    os.remove(f"{saved_path}.{missing}")
    model = build(5)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert ResumeState(saved_path).restore(model) == 2 - (missing == 0)
    assert bits(model) == saved[1][2 - (missing == 0)]


def test_run_goes_on_over_a_damaged_generation(saved_path):
    write(f"{saved_path}.0", b"torn")
    model, state = build(5), ResumeState(saved_path)
    with pytest.warns(UserWarning, match="damaged"):
        assert state.restore(model) == 1
    state.set_model(model)
    state.on_train_begin()
    state.on_epoch_begin(1)
    state.on_epoch_end(1)
    other = build(6)
    assert ResumeState(saved_path).restore(other) == 2
    assert bits(other) == bits(model)


class Failing:
    """Makes one file operation of a save fail, the one numbered `fail_at`."""

    def __init__(self, monkeypatch, fail_at, error):
        self.fail_at, self.error, self.done = fail_at, error, 0
        monkeypatch.setattr(state_file, "open", self._open, raising=False)
        for name in ("fsync", "replace", "open"):
            monkeypatch.setattr(os, name, self._failing(getattr(os, name)))

    def step(self):
        self.done += 1
        if self.done == self.fail_at:
            raise self.error

    def _failing(self, function):
        def replacement(*args):
            self.step()
            return function(*args)

        return replacement

    def _open(self, *args):
        self.step()
        return FailingFile(open(*args), self)


class FailingFile:
    def __init__(self, file, failing):
        self.file, self.failing = file, failing
        self.fileno = file.fileno

    def write(self, content):
        # The disk may be full after any part.
        size = max(1, len(content) // 8)
        for start in range(0, len(content), size):
            self.failing.step()
            self.file.write(content[start : start + size])

    def flush(self):
        self.file.flush()
        self.failing.step()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()
        self.failing.step()


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()]
)
def test_save_may_fail_anywhere(saved, saved_path, monkeypatch, error):
    model, state = build(5), ResumeState(saved_path)
    scramble(model, 3)
    contents = {2: saved[1][2], 3: bits(model)}
    before = {name: read(name) for name in state.paths}
    other, failures, found = build(6), 0, set()
    while True:
        for name, content in before.items():
            write(name, content)
        state.set_model(model)
        with monkeypatch.context() as patch:
            failing = Failing(patch, failures + 1, error)
            try:
                state.on_epoch_end(2, {"loss": 0.5})
                break
            except type(error) as raised:
                if isinstance(error, OSError):
                    assert re.search(rf"{re.escape(saved_path)}.*\d+ bytes free", str(raised))
                    assert raised.errno == errno.ENOSPC and "\n" not in str(raised)
        failures += 1
        assert failing.done == failures or failing.done == failures + 1
        assert sorted(os.listdir(os.path.dirname(saved_path))) == ["state.0", "state.1"]
        scramble(other, 4)
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            epochs = ResumeState(saved_path).restore(other)
        assert bits(other) == contents[epochs]
        found.add(epochs)
    assert failures == failing.done > 20
    assert found == {2, 3}


def test_failed_save_stops_fit_with_path_and_free_bytes(path, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match=rf"{re.escape(path)}.*\d+ bytes free.*epoch 0"):
        train(build(), 1, [ResumeState(path)])
    assert os.listdir(os.path.dirname(path)) == []


def test_folder_that_cannot_be_written_is_refused_before_training(tmp_path):
    (tmp_path / "file").write_text("")
    model = build()
    before = bits(model)
    with pytest.raises(ValueError, match=r"file/run/state .*bytes free") as raised:
        train(model, 1, [ResumeState(tmp_path / "file" / "run" / "state")])
    assert "\n" not in str(raised.value)
    assert bits(model)[: len(model.variables)] == before[: len(model.variables)]


def test_folder_is_created(tmp_path):
    state = ResumeState(tmp_path / "a" / "b" / "state")
    state.set_model(build())
    state.on_train_begin()
    state.on_epoch_end(0)
    assert os.listdir(tmp_path / "a" / "b") == ["state.1"]
