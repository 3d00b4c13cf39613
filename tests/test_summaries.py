"""Event files: read back by TensorBoard's own accumulators, protobufs and Pillow."""

import errno
import io
import json
import os
import re
import subprocess
import sys
import types
from importlib.util import find_spec

import keras
import numpy as np
import pytest
from keras import ops

from keras_dep import summaries

EventWriter, read_scalars = summaries.EventWriter, summaries.read_scalars

SCALARS = {
    "train/loss": [(1, 0.1), (2, float("nan")), (30, float("inf")), (2**40, -1e30)],
    "spikes/rate": [(0, 1e-40), (7, -0.0)],
}


@pytest.fixture(autouse=True)
def _tensorboard_without_tensorflow(monkeypatch):
    # TensorBoard's own switch: its readers then take their stub instead of importing TensorFlow.
    switch = "tensorboard.compat.notf"
    monkeypatch.setitem(sys.modules, switch, types.ModuleType(switch))


def accumulate(logdir):
    from tensorboard.backend.event_processing import plugin_event_accumulator

    return plugin_event_accumulator.EventAccumulator(
        str(logdir), size_guidance={"tensors": 0}
    ).Reload()


def tensor_points(accumulator, tag):
    from tensorboard.util import tensor_util

    return [
        (event.step, tensor_util.make_ndarray(event.tensor_proto).item())
        for event in accumulator.Tensors(tag)
    ]


def enum_name(message, field):
    kinds = message.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number
    return kinds[getattr(message, field)].name


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
        np.testing.assert_array_equal(tensor_points(accumulator, tag), expected)
        np.testing.assert_array_equal(own[tag], expected)
        assert accumulator.SummaryMetadata(tag).plugin_data.plugin_name == "scalars"


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


def test_reader_sorts_steps_and_keeps_the_last_value(tmp_path):
    write_scalars(tmp_path, {"a": [(9, 1.0), (3, 2.0), (9, 3.0)]})
    assert read_scalars(tmp_path) == {"a": [(3, 2.0), (9, 3.0)]}


def test_reader_takes_plain_values_of_other_writers(tmp_path):
    from tensorboard.compat.proto import event_pb2
    from tensorboard.summary.writer.record_writer import RecordWriter

    with open(tmp_path / "events.out.tfevents.1.other", "wb") as file:
        for step in (1, 2):
            value = {"tag": "a", "simple_value": step / 2}
            event = event_pb2.Event(step=step, summary={"value": [value]})
            RecordWriter(file).write(event.SerializeToString())
    assert read_scalars(tmp_path) == {"a": [(1, 0.5), (2, 1.0)]}


def test_reader_leaves_out_images_and_text(tmp_path):
    with EventWriter(tmp_path) as writer:
        writer.image("a", np.zeros((2, 2, 1), "float32"), 0)
        writer.text("b", "words", 0)
        writer.hparams({"rate": 1}, [])
    assert read_scalars(tmp_path) == {}


@pytest.mark.parametrize("purge_step", [0, 4, 100])
def test_resumed_run_shows_no_step_twice(tmp_path, purge_step):
    write_scalars(tmp_path, {"a": [(step, step) for step in range(8)], "gone": [(5, 1.0)]})
    write_scalars(tmp_path, {"a": [(purge_step, -1.0)]}, purge_step=purge_step)
    expected = [(step, step) for step in range(8) if step < purge_step] + [(purge_step, -1.0)]
    assert tensor_points(accumulate(tmp_path), "a") == expected
    assert read_scalars(tmp_path)["a"] == expected
    assert ("gone" in read_scalars(tmp_path)) == (purge_step == 100)


def test_quick_restarts_keep_their_order(tmp_path):
    for restart in range(12):
        write_scalars(tmp_path, {"a": [(restart, restart), (99, restart)]}, purge_step=restart)
    expected = [(step, step) for step in range(12)] + [(99, 11.0)]
    assert read_scalars(tmp_path)["a"] == expected
    assert tensor_points(accumulate(tmp_path), "a") == expected


def test_second_writer_without_purge_keeps_what_is_there(tmp_path):
    write_scalars(tmp_path, {"a": [(5, 1.0)]})
    write_scalars(tmp_path, {"a": [(3, 2.0)]})
    assert read_scalars(tmp_path) == {"a": [(3, 2.0), (5, 1.0)]}


@pytest.mark.parametrize("cut", [1, 7, 30])
def test_reader_survives_a_cut_record(tmp_path, cut):
    write_scalars(tmp_path, {"a": [(1, 1.0), (2, 2.0)]})
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.warns(UserWarning, match=re.escape(str(path))):
        assert read_scalars(tmp_path) == {"a": [(1, 1.0)]}


def test_reader_stops_at_a_flipped_byte(tmp_path):
    write_scalars(tmp_path, {"a": [(1, 1.0), (2, 2.0)]})
    (path,) = tmp_path.iterdir()
    content = bytearray(path.read_bytes())
    content[-10] ^= 1
    path.write_bytes(content)
    with pytest.warns(UserWarning, match="damaged"):
        assert read_scalars(tmp_path) == {"a": [(1, 1.0)]}


HPARAMS = {
    "rate": (0.1, "number_value", 0.1),
    "epochs": (np.int64(3), "number_value", 3.0),
    "augment": (False, "bool_value", False),
    "model": ("vgg5", "string_value", "vgg5"),
    "widths": ([1, 2], "string_value", "[1, 2]"),
    "limit": (None, "string_value", "None"),
    "radius": (float("inf"), "string_value", "inf"),
}


@pytest.mark.parametrize("status", ["success", "failure"])
def test_hparams_session_is_read_back(tmp_path, status):
    from tensorboard.plugins.hparams import metadata

    writer = EventWriter(tmp_path)
    writer.hparams({name: given for name, (given, _, _) in HPARAMS.items()}, ["acc", "loss"])
    writer.close(status)
    content = accumulate(tmp_path).PluginTagToContent(metadata.PLUGIN_NAME)
    experiment = metadata.parse_experiment_plugin_data(content[metadata.EXPERIMENT_TAG])
    start = metadata.parse_session_start_info_plugin_data(content[metadata.SESSION_START_INFO_TAG])
    end = metadata.parse_session_end_info_plugin_data(content[metadata.SESSION_END_INFO_TAG])
    assert [info.name.tag for info in experiment.metric_infos] == ["acc", "loss"]
    for info, (name, (_, field, value)) in zip(
        experiment.hparam_infos, HPARAMS.items(), strict=True
    ):
        assert info.name == name
        assert start.hparams[name].WhichOneof("kind") == field
        assert getattr(start.hparams[name], field) == value
        kind = {"number_value": "FLOAT64", "bool_value": "BOOL", "string_value": "STRING"}[field]
        assert enum_name(info, "type") == f"DATA_TYPE_{kind}"
    assert len(start.hparams) == len(HPARAMS)
    assert enum_name(end, "status") == f"STATUS_{status.upper()}"
    assert 0 <= end.end_time_secs - start.start_time_secs < 60


@pytest.mark.parametrize(
    ("error", "status"),
    [(None, "SUCCESS"), (RuntimeError, "FAILURE"), (KeyboardInterrupt, None)],
)
def test_context_manager_closes_with_the_status(tmp_path, error, status):
    from tensorboard.plugins.hparams import metadata

    try:
        with EventWriter(tmp_path) as writer:
            writer.hparams({"rate": 0.1}, ["acc"])
            if error is not None:
                raise error
    except (RuntimeError, KeyboardInterrupt) as raised:
        assert type(raised) is error
    content = accumulate(tmp_path).PluginTagToContent(metadata.PLUGIN_NAME)
    assert (metadata.SESSION_END_INFO_TAG in content) == (status is not None)
    if status is not None:
        end = metadata.parse_session_end_info_plugin_data(content[metadata.SESSION_END_INFO_TAG])
        assert enum_name(end, "status") == f"STATUS_{status}"


@pytest.mark.parametrize("shape", [(5, 7, 3), (5, 7, 1), (3, 4, 6, 3)])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_png_decodes_to_the_image(tmp_path, shape, dtype):
    from PIL import Image
    from tensorboard.util import tensor_util

    images = np.random.default_rng(0).random(shape)
    images.flat[:2] = 0, 1
    given = ops.cast(images, dtype)
    with EventWriter(tmp_path) as writer:
        writer.image("images", given, 3)
    (event,) = accumulate(tmp_path).Tensors("images")
    width, height, *pngs = tensor_util.make_ndarray(event.tensor_proto)
    assert (event.step, int(width), int(height)) == (3, shape[-2], shape[-3])
    decoded = np.stack([np.asarray(Image.open(io.BytesIO(png))) for png in pngs])
    given = ops.convert_to_numpy(ops.cast(given, "float32"))
    np.testing.assert_allclose(decoded.reshape(shape) / 255, given, rtol=0, atol=0.5 / 255 + 1e-6)


def test_number_of_images_is_capped(tmp_path):
    from tensorboard.util import tensor_util

    with EventWriter(tmp_path) as writer:
        writer.image("many", np.zeros((20, 2, 2, 1), "float32"), 0)
        writer.image("few", np.zeros((20, 2, 2, 1), "float32"), 0, max_images=2)
    reader = accumulate(tmp_path)
    counts = [
        len(tensor_util.make_ndarray(reader.Tensors(tag)[0].tensor_proto)) - 2
        for tag in ("many", "few")
    ]
    assert counts == [16, 2]


def test_text_is_read_back(tmp_path):
    from tensorboard.util import tensor_util

    with EventWriter(tmp_path) as writer:
        writer.text("notes", "**bold** é", 2)
    reader = accumulate(tmp_path)
    (event,) = reader.Tensors("notes")
    array = tensor_util.make_ndarray(event.tensor_proto)
    assert array.shape == () and array.item().decode() == "**bold** é"
    assert reader.SummaryMetadata("notes").plugin_data.plugin_name == "text"


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
    with pytest.raises(ValueError, match="missing"):
        read_scalars(tmp_path / "missing")


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


def test_tensorflow_is_never_imported(tmp_path):
    backend = keras.backend.backend()
    if backend == "tensorflow":
        backend = next((name for name in ("jax", "torch") if find_spec(name)), None)
    if backend is None:
        pytest.skip("needs a backend other than TensorFlow")
    program = """
import json, sys
import numpy as np
from keras_dep.summaries import EventWriter, read_scalars
with EventWriter(sys.argv[1], purge_step=0) as writer:
    writer.hparams({"rate": 0.1}, ["a"])
    writer.scalar("a", 1.0, 1)
    writer.image("b", np.zeros((2, 2, 3), "float32"), 1)
    writer.text("c", "words", 1)
    writer.flush()
print(json.dumps([read_scalars(sys.argv[1]), "tensorflow" in sys.modules]))
"""
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert json.loads(done.stdout) == [{"a": [[1, 1.0]]}, False]
