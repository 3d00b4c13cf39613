"""Scalars read back by TensorBoard's own accumulator, through restarts and damage."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_dep.summaries import EventWriter
from tests.support.event_files import accumulate
from tests.support.event_files import plugin
from tests.support.event_files import read_scalars
from tests.support.event_files import tensors

SCALARS = {
    "train/loss": [(1, 0.1), (2, float("nan")), (30, float("inf")), (2**40, -1e30)],
    "spikes/rate": [(0, 1e-40), (7, -0.0)],
    # Characters that tensorboardX' own `scalar` replaces.
    "membrane/lif1/+0.5": [(0, 1.0)],
    "membrane/lif1/-0.5": [(0, 2.0)],
}


def write_scalars(logdir, points, **options):
    with EventWriter(logdir, **options) as writer:
        for tag, values in points.items():
            for step, value in values:
                writer.scalar(tag, value, step)


def test_scalars_reach_tensorboard_as_float32(tmp_path):
    write_scalars(tmp_path, SCALARS)
    accumulator = accumulate(tmp_path)
    own = read_scalars(tmp_path)
    assert set(own) == set(SCALARS) == set(accumulator.Tags()["tensors"])
    for tag, points in SCALARS.items():
        expected = [(step, float(np.float32(value))) for step, value in points]
        np.testing.assert_array_equal(tensors(accumulator, tag), expected)
        np.testing.assert_array_equal(own[tag], expected)
        assert plugin(accumulator, tag) == "scalars"


def test_scalar_takes_tensors_variables_and_numpy(tmp_path):
    values = [
        ops.convert_to_tensor(0.25),
        ops.ones((1, 1), dtype="bfloat16"),
        keras.Variable(3.0),
        np.float64(4.0),
        np.array([5], "int32"),
        True,
    ]
    write_scalars(tmp_path, {"a": [(np.int64(i), value) for i, value in enumerate(values)]})
    assert read_scalars(tmp_path) == {"a": list(enumerate([0.25, 1.0, 3.0, 4.0, 5.0, 1.0]))}


def test_records_are_readable_before_flush_and_close(tmp_path):
    writer = EventWriter(tmp_path)
    writer.scalar("a", 1.0, 5)
    assert read_scalars(tmp_path) == {"a": [(5, 1.0)]}
    writer.close()


@pytest.mark.parametrize("purge_step", [0, 4, 100])
def test_resumed_run_shows_no_step_twice(tmp_path, purge_step):
    write_scalars(tmp_path, {"a": [(step, step) for step in range(8)], "gone": [(5, 1.0)]})
    write_scalars(tmp_path, {"a": [(purge_step, -1.0)]}, purge_step=purge_step)
    expected = [(step, step) for step in range(8) if step < purge_step] + [(purge_step, -1.0)]
    assert tensors(accumulate(tmp_path), "a") == expected
    assert read_scalars(tmp_path)["a"] == expected
    assert ("gone" in read_scalars(tmp_path)) == (purge_step == 100)


def test_quick_restarts_keep_their_order(tmp_path):
    for restart in range(12):
        write_scalars(tmp_path, {"a": [(restart, restart), (99, restart)]}, purge_step=restart)
    expected = [(step, step) for step in range(12)] + [(99, 11.0)]
    assert read_scalars(tmp_path)["a"] == expected
    assert tensors(accumulate(tmp_path), "a") == expected


def test_second_writer_without_purge_keeps_what_is_there(tmp_path):
    write_scalars(tmp_path, {"a": [(5, 1.0)]})
    write_scalars(tmp_path, {"a": [(3, 2.0)]})
    assert read_scalars(tmp_path) == {"a": [(3, 2.0), (5, 1.0)]}


@pytest.mark.parametrize("cut", [1, 7, 30])
def test_all_but_a_cut_record_is_readable(tmp_path, cut):
    write_scalars(tmp_path, {"a": [(1, 1.0), (2, 2.0)]})
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-cut])
    assert read_scalars(tmp_path) == {"a": [(1, 1.0)]}


def test_values_that_are_not_finite_log_nothing(tmp_path, caplog):
    write_scalars(tmp_path, {"a": [(1, float("nan")), (2, float("-inf"))]})
    assert not caplog.records
