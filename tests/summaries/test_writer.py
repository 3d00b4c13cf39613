"""The writer under mistakes, a full disk, and without TensorFlow."""

import errno
import json
import os
import re
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_dep.summaries import EventWriter
from tests.support.event_files import accumulate
from tests.support.event_files import plugin
from tests.support.event_files import read_scalars
from tests.support.event_files import tensors

BAD_CALLS = {
    "scalar vector": (lambda w: w.scalar("a", [1.0, 2.0], 0), "value"),
    "scalar matrix": (lambda w: w.scalar("a", np.zeros((9, 9)), 0), "value"),
    "scalar text": (lambda w: w.scalar("a", "high", 0), "'high'"),
    "empty tag": (lambda w: w.scalar("", 1.0, 0), "tag"),
    "tag number": (lambda w: w.scalar(3, 1.0, 0), "tag"),
    "negative step": (lambda w: w.scalar("a", 1.0, -1), "step"),
    "float step": (lambda w: w.scalar("a", 1.0, 1.5), "1.5"),
    "boolean step": (lambda w: w.scalar("a", 1.0, True), "True"),
    "huge step": (lambda w: w.scalar("a", 1.0, 2**63), "step"),
    "8-bit image": (lambda w: w.image("a", np.zeros((2, 2, 3), "uint8"), 0), "uint8"),
    "0..255 image": (lambda w: w.image("a", np.full((2, 2, 3), 255.0), 0), r"\[0, 1\]"),
    "NaN image": (lambda w: w.image("a", np.full((2, 2, 3), np.nan), 0), r"\[0, 1\]"),
    "two channels": (lambda w: w.image("a", np.zeros((2, 2, 2)), 0), r"\(1, 2, 2, 2\)"),
    "flat image": (lambda w: w.image("a", np.zeros((4,)), 0), "shape"),
    "no images": (lambda w: w.image("a", np.zeros((0, 2, 2, 3)), 0), "shape"),
    "large image": (lambda w: w.image("a", np.zeros((1, 5000, 1)), 0), "4096"),
    "text number": (lambda w: w.text("a", 3, 0), "markdown"),
    "hparam object": (lambda w: w.hparams({"a": object()}, []), "'a'"),
    "metrics string": (lambda w: w.hparams({}, "accuracy"), "metrics"),
    "chart string": (lambda w: w.layout({"a": {"b": "accuracy"}}), "chart 'b'"),
    "hparams twice": (lambda w: (w.hparams({}, []), w.hparams({}, [])), "second call"),
    "status": (lambda w: w.close("done"), "'done'"),
    "closed": (lambda w: (w.close(), w.scalar("a", 1.0, 0)), "closed"),
}


@pytest.mark.parametrize("name", BAD_CALLS)
def test_bad_calls_are_refused_in_one_line(tmp_path, name):
    call, expected = BAD_CALLS[name]
    writer = EventWriter(tmp_path)
    with pytest.raises(ValueError, match=expected) as raised:
        call(writer)
    assert "\n" not in str(raised.value)
    writer.close()
    assert "a" not in read_scalars(tmp_path)


def test_bad_folders_are_refused_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    for logdir in (tmp_path / "file", tmp_path / "file" / "run", "", None):
        with pytest.raises(ValueError, match=re.escape(repr(logdir))) as raised:
            EventWriter(logdir)
        assert "\n" not in str(raised.value)
    with pytest.raises(ValueError, match="purge_step"):
        EventWriter(tmp_path, purge_step=-1)


def test_closing_twice_is_allowed(tmp_path):
    writer = EventWriter(tmp_path)
    writer.close()
    writer.close("failure")


def test_full_disk_names_path_and_free_bytes(tmp_path, monkeypatch):
    writer = EventWriter(tmp_path)

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=rf"{re.escape(str(tmp_path))}.*\d+ bytes free") as raised:
        writer.flush()
    assert raised.value.errno == errno.ENOSPC and "\n" not in str(raised.value)
    monkeypatch.undo()
    writer.scalar("a", 1.0, 0)
    writer.close()
    assert read_scalars(tmp_path) == {"a": [(0, 1.0)]}


def test_seconds_count_the_writers_own_time(tmp_path):
    with EventWriter(tmp_path) as writer:
        before = writer.seconds
        writer.scalar("a", 1.0, 0)
        assert 0 < before < writer.seconds < 60


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="no limit on the size of files")
def test_full_disk_is_one_line_at_the_record_that_does_not_fit(tmp_path):
    """`tensorboardX.SummaryWriter` blocks for ever here."""
    import resource

    writer, limits = EventWriter(tmp_path), resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**14, limits[1]))
    try:
        with pytest.raises(OSError, match=re.escape(str(tmp_path))) as raised:
            for step in range(100):
                writer.text("a", "x" * 1000, step)
        with pytest.raises(OSError, match=re.escape(str(tmp_path))):
            writer.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert step == 15 and "\n" not in str(raised.value)
    assert [step for step, _ in tensors(accumulate(tmp_path), "a")] == list(range(15))


def test_layout_is_read_back(tmp_path):
    from tensorboard.plugins.custom_scalar import layout_pb2

    with EventWriter(tmp_path) as writer:
        writer.layout({"group": {"first": ["a/b$", "c"], "second": ["d"]}})
    reader = accumulate(tmp_path)
    [(_, content)] = tensors(reader, "custom_scalars__config__")
    (category,) = layout_pb2.Layout.FromString(content.item()).category
    assert category.title == "group"
    charts = {chart.title: list(chart.multiline.tag) for chart in category.chart}
    assert charts == {"first": ["a/b$", "c"], "second": ["d"]}
    assert plugin(reader, "custom_scalars__config__") == "custom_scalars"


def test_no_other_framework_is_imported_and_nothing_is_printed(tmp_path):
    program = """
import json, sys
import keras
import numpy as np
def frameworks():
    return [name for name in ("torch", "tensorflow", "jax") if name in sys.modules]
before = frameworks()
from keras_dep.summaries import EventWriter
with EventWriter(sys.argv[1], purge_step=0) as writer:
    writer.hparams({"rate": 0.1}, ["a"])
    writer.layout({"group": {"chart": ["a"]}})
    writer.scalar("a", 1.0, 1)
    writer.image("b", np.zeros((2, 2, 3), "float32"), 1)
    writer.text("c", "words", 1)
    writer.flush()
print(json.dumps([before, frameworks()]))
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    # Keras imports some for itself.
    before, after = json.loads(done.stdout)
    assert before == after and keras.backend.backend() in after
    # TensorFlow prints lines of its own.
    assert done.stderr == "" or keras.backend.backend() == "tensorflow"
    assert read_scalars(tmp_path) == {"a": [(1, 1.0)]}
