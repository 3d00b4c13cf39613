"""TensorBoard event files, written and read without TensorFlow.

`EventFileWriter` of the `tensorboard` package opens its file through a compatibility layer that
imports TensorFlow wherever it is installed. The record writer underneath does not, so the files
here are plain Python files behind that record writer.
"""

import contextlib
import importlib
import io
import math
import operator
import os
import re
import socket
import textwrap
import time
import types
import warnings

import keras
import numpy as np

from keras_dep import durable

LARGEST_IMAGE_SIDE = 4096
# The parts of the `tensorboard` package that never import TensorFlow.
_PARTS = {
    "events": "compat.proto.event_pb2",
    "tensors": "compat.proto.tensor_pb2",
    "errors": "compat.tensorflow_stub.errors",
    "reader": "compat.tensorflow_stub.pywrap_tensorflow",
    "writer": "summary.writer.record_writer",
    "arrays": "util.tensor_util",
    "scalar": "plugins.scalar.metadata",
    "image": "plugins.image.metadata",
    "text": "plugins.text.metadata",
    "hparams": "plugins.hparams.metadata",
    "hparams_data": "plugins.hparams.plugin_data_pb2",
    "hparams_api": "plugins.hparams.api_pb2",
}


class EventWriter:
    """Writes scalars, images, text and hyper-parameters for TensorBoard.

    Every record reaches the operating system before its method returns, so a killed process loses
    nothing it had written; `flush` also reaches the disk. A resumed run opens a new file in the
    same folder, named so that it sorts after the older ones.

    Args:
        logdir: local folder, created if needed. One folder is one run in TensorBoard's list; use
            `<run>/train` and `<run>/validation` to match Keras.
        purge_step: the first step that a resumed run will write. TensorBoard and `read_scalars`
            then drop what older files in the folder hold at this step or later; `None` keeps all.

    Attributes:
        logdir: the folder.
        seconds: time this writer has spent on writing so far.

    Raises:
        ValueError: the folder cannot be written, or `purge_step` is not a step.

    Example:

    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> with EventWriter(folder) as writer:
    ...     writer.hparams({"learning_rate": 0.1}, metrics=["accuracy"])
    ...     writer.scalar("accuracy", 0.5, step=100)
    >>> read_scalars(folder)
    {'accuracy': [(100, 0.5)]}
    """

    def __init__(self, logdir, purge_step=None):
        if purge_step is not None:
            purge_step = _check_step(purge_step, "purge_step")
        self.seconds = 0.0
        self._board = _tensorboard()
        self._describes_run = False
        try:
            self.logdir = os.fspath(logdir)
            os.makedirs(self.logdir, exist_ok=True)
            path = os.path.join(self.logdir, _new_file_name(self.logdir))
            self._file = io.BufferedWriter(io.FileIO(path, "x"))
        except (OSError, TypeError) as error:
            raise ValueError(
                f"logdir must be a folder that can be written; received {logdir!r} ({error}); "
                "choose another folder or mend its permissions."
            ) from error
        self._records = self._board.writer.RecordWriter(self._file)
        source = {"writer": "keras_dep.summaries"}
        self._write(file_version="brain.Event:2", source_metadata=source)
        if purge_step is not None:
            start = {"status": self._board.events.SessionLog.START}
            # Readers take the first start they meet for no restart, so one alone may purge nothing.
            self._write(purge_step, session_log=start)
            self._write(purge_step, session_log=start)

    def scalar(self, tag, value, step):
        """Writes one number; a non-finite one is written as it is.

        Args:
            tag: string, `"group/name"`.
            value: number or one-element tensor, stored as float32.
            step: integer >= 0; by convention the optimizer's iteration.
        """
        try:
            number = float(np.reshape(_to_numpy(value), ()))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"value must be one number; received {_brief(value)} for tag={tag!r}; "
                "reduce it first, for instance to its mean."
            ) from error
        tensor = self._tensor("DT_FLOAT", [], float_val=[number])
        self._write_summary(tag, self._board.scalar, tensor, step)

    def image(self, tag, images, step, max_images=16):
        """Writes images as PNG; several appear side by side under one tag.

        Args:
            tag: string, `"group/name"`.
            images: floats in [0, 1], `(H, W, C)` or `(N, H, W, C)` with 1 or 3 channels.
            step: integer >= 0.
            max_images: how many of the N images are kept, the first ones.
        """
        images = _check_images(images)[:max_images]
        size = [str(images.shape[2]).encode(), str(images.shape[1]).encode()]
        parts = [*size, *map(_encode_png, images)]
        tensor = self._tensor("DT_STRING", [len(parts)], string_val=parts)
        self._write_summary(tag, self._board.image, tensor, step)

    def text(self, tag, markdown, step):
        """Writes a passage of Markdown.

        Args:
            tag: string, `"group/name"`.
            markdown: string.
            step: integer >= 0.
        """
        if not hasattr(markdown, "encode"):
            raise ValueError(
                f"markdown must be a string; received {_brief(markdown)}; convert it with str()."
            )
        # A scalar is shown as prose, a vector would become a table.
        tensor = self._tensor("DT_STRING", [], string_val=[markdown.encode()])
        self._write_summary(tag, self._board.text, tensor, step)

    def hparams(self, values, metrics):
        """Starts the run's row in the HParams tab; `close` ends it with a status.

        TensorBoard takes the columns from the first run it finds, and a row from the first record
        of its run: give all runs under one folder the same names.

        Args:
            values: dict from name to bool, number, string, `None` or a list of these.
            metrics: list of scalar tags to show beside the values.
        """
        if self._describes_run:
            raise ValueError(
                f"hparams() describes a run once; received a second call for {self.logdir!r}; "
                "open another writer for another run."
            )
        if isinstance(metrics, str) or not all(isinstance(tag, str) for tag in metrics):
            raise ValueError(
                f"metrics must be a list of scalar tags; received {metrics!r}; "
                "write for example ['accuracy']."
            )
        api, now = self._board.hparams_api, time.time()
        kinds = {str(name): _hparam(name, value) for name, value in values.items()}
        session = self._board.hparams_data.SessionStartInfo(start_time_secs=now)
        for name, (value, field, _) in kinds.items():
            setattr(session.hparams[name], field, value)
        experiment = api.Experiment(
            hparam_infos=[{"name": name, "type": kind} for name, (_, _, kind) in kinds.items()],
            metric_infos=[{"name": {"tag": tag}} for tag in metrics],
            time_created_secs=now,
        )
        self._write_hparams(self._board.hparams.EXPERIMENT_TAG, experiment=experiment)
        tag = self._board.hparams.SESSION_START_INFO_TAG
        self._write_hparams(tag, session_start_info=session)
        self._describes_run = True

    def flush(self):
        """Waits until everything written so far is on the disk."""
        with self._guarded():
            self._records.flush()
            os.fsync(self._file.fileno())

    def close(self, status="success"):
        """Ends the run and closes the file; a second call does nothing.

        Args:
            status: `"success"` or `"failure"` for the HParams tab, which keeps the first one it
                reads of a run; `None` leaves it open, for a run that will be resumed.
        """
        if status not in ("success", "failure", None):
            raise ValueError(f"status must be 'success', 'failure' or None; received {status!r}.")
        if self._file.closed:
            return
        try:
            if self._describes_run and status is not None:
                end = {"status": f"STATUS_{status.upper()}", "end_time_secs": time.time()}
                tag = self._board.hparams.SESSION_END_INFO_TAG
                self._write_hparams(tag, session_end_info=end)
            self.flush()
        finally:
            with self._guarded():
                self._file.close()

    def __enter__(self):
        return self

    def __exit__(self, error_type, error, traceback):
        interrupted = error_type is not None and not issubclass(error_type, Exception)
        self.close(None if interrupted else "failure" if error_type else "success")

    def _write_hparams(self, tag, **content):
        plugin, data = self._board.hparams, self._board.hparams_data.HParamsPluginData(**content)
        metadata = plugin.create_summary_metadata(data)
        value = {"tag": tag, "metadata": metadata, "tensor": plugin.NULL_TENSOR}
        self._write(summary={"value": [value]})

    def _write_summary(self, tag, plugin, tensor, step):
        if not tag or not isinstance(tag, str):
            raise ValueError(
                f"tag must be a string with at least one character; received {tag!r}; "
                "write for example 'spikes/rate'."
            )
        value = {"tag": tag, "metadata": plugin.create_summary_metadata("", ""), "tensor": tensor}
        self._write(_check_step(step, "step"), summary={"value": [value]})

    def _tensor(self, dtype, shape, **values):
        shape = {"dim": [{"size": size} for size in shape]}
        return self._board.tensors.TensorProto(dtype=dtype, tensor_shape=shape, **values)

    def _write(self, step=0, **content):
        with self._guarded():
            event = self._board.events.Event(wall_time=time.time(), step=step, **content)
            self._records.write(event.SerializeToString())
            self._records.flush()

    @contextlib.contextmanager
    def _guarded(self):
        """Counts the seconds; gives errors of the disk the path and the free space."""
        if self._file.closed:
            raise ValueError(
                f"the event writer of {self.logdir!r} is closed; received one more call; "
                "open a new EventWriter."
            )
        start = time.perf_counter()
        try:
            yield
        except OSError as error:
            place = f"{self.logdir!r} ({durable.free_bytes(self.logdir)} bytes free)"
            raise OSError(error.errno, f"cannot write events to {place}: {error}") from error
        finally:
            self.seconds += time.perf_counter() - start


def read_scalars(logdir):
    """Reads back the scalars of one run, without the steps that a restart replaced.

    Both forms are read, the tensors of current writers and the plain values of older ones. A record
    cut short by a kill ends its file with a warning.

    Args:
        logdir: the folder that holds the event files, not a parent of it.

    Returns:
        Dict from tag to a list of `(step, value)`, steps ascending; of a step written twice, the
        last value.

    Raises:
        ValueError: `logdir` is not a folder.
    """
    if not os.path.isdir(logdir):
        raise ValueError(
            f"logdir must be an existing folder; received {os.fspath(logdir)!r}; "
            "name the folder that holds the event files of one run."
        )
    board, scalars, scalar_tags = _tensorboard(), {}, set()
    for name in sorted(name for name in os.listdir(logdir) if "tfevents" in name):
        for event in _read_events(board, os.path.join(logdir, name)):
            if event.session_log.status == board.events.SessionLog.START:
                for tag, points in scalars.items():
                    scalars[tag] = {step: points[step] for step in points if step < event.step}
            for value in event.summary.value:
                if value.metadata.plugin_data.plugin_name == board.scalar.PLUGIN_NAME:
                    scalar_tags.add(value.tag)
                points, kind = scalars.setdefault(value.tag, {}), value.WhichOneof("value")
                if kind == "simple_value":
                    points[event.step] = value.simple_value
                elif kind == "tensor" and value.tag in scalar_tags:
                    points[event.step] = float(board.arrays.make_ndarray(value.tensor))
    return {tag: sorted(points.items()) for tag, points in scalars.items() if points}


def _read_events(board, path):
    reader = board.reader.PyRecordReader_New(path)
    while True:
        try:
            reader.GetNext()
        except board.errors.OutOfRangeError:
            return
        except board.errors.DataLossError as error:
            warnings.warn(f"{path} is damaged; read up to the damage ({error})", stacklevel=3)
            return
        yield board.events.Event.FromString(reader.record())


def _tensorboard():
    try:
        loaded = {name: importlib.import_module(f"tensorboard.{_PARTS[name]}") for name in _PARTS}
    except ImportError as error:
        raise ImportError(
            f"event files need the tensorboard package ({error}); run pip install tensorboard"
        ) from error
    return types.SimpleNamespace(**loaded)


def _new_file_name(logdir):
    # Readers take files in name order: neither a quick restart nor a clock set back may sort first.
    matches = [re.match(r"events\.out\.tfevents\.(\d{10})\.", name) for name in os.listdir(logdir)]
    stamp = max([int(time.time()), *(int(match[1]) + 1 for match in matches if match)])
    return f"events.out.tfevents.{stamp:010d}.{socket.gethostname()}.{os.getpid()}.0"


def _to_numpy(value):
    # Tensors may sit on an accelerator or carry a gradient; other values need no help.
    if isinstance(value, (int, float, str, list, tuple, np.ndarray, np.generic)):
        return np.asarray(value)
    return keras.ops.convert_to_numpy(value)


def _brief(value):
    return textwrap.shorten(repr(value), 80)


def _check_step(step, name):
    try:
        number = -1 if isinstance(step, bool) else operator.index(step)
    except TypeError:
        number = -1
    if not 0 <= number < 2**63:
        raise ValueError(
            f"{name} must be an integer >= 0; received {_brief(step)}; "
            "write for example int(optimizer.iterations)."
        )
    return number


def _hparam(name, value):
    """The value as the HParams tab can hold it, with its field and its data type."""
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, bool):
        return value, "bool_value", "DATA_TYPE_BOOL"
    if isinstance(value, (int, float)) and math.isfinite(value):
        return float(value), "number_value", "DATA_TYPE_FLOAT64"
    # The format has no lists, no `None` and no infinities: they are shown as text.
    if value is None or isinstance(value, (str, int, float, list, tuple)):
        return str(value), "string_value", "DATA_TYPE_STRING"
    raise ValueError(
        "values must hold booleans, numbers, strings, None or lists of these; "
        f"received values[{name!r}]={_brief(value)}; convert it with str()."
    )


def _check_images(images):
    pixels = _to_numpy(images)
    pixels = pixels[None] if pixels.ndim == 3 else pixels
    shaped = pixels.ndim == 4 and pixels.shape[-1] in (1, 3) and 0 not in pixels.shape
    if not shaped or not keras.backend.is_float_dtype(pixels.dtype.name):
        raise ValueError(
            "images must be floats of shape (H, W, C) or (N, H, W, C) with 1 or 3 channels; "
            f"received shape {pixels.shape} and dtype {pixels.dtype}; "
            "move the channels last and divide 8-bit images by 255."
        )
    if max(pixels.shape[1:3]) > LARGEST_IMAGE_SIDE:
        raise ValueError(
            f"images must have sides of at most {LARGEST_IMAGE_SIDE} pixels; "
            f"received shape {pixels.shape}; shrink them first."
        )
    pixels = pixels.astype("float32")
    # Half precision may overshoot by a rounding; more than that is another scale. NaN fails too.
    if not (pixels.min() >= -1e-3 and pixels.max() <= 1 + 1e-3):
        raise ValueError(
            "images must lie in [0, 1]; received values from "
            f"{pixels.min()} to {pixels.max()}; rescale them first."
        )
    return np.clip(pixels, 0.0, 1.0)


def _encode_png(pixels):
    from PIL import Image

    levels = np.rint(pixels * 255).astype("uint8")
    stream = io.BytesIO()
    Image.fromarray(levels[..., 0] if levels.shape[-1] == 1 else levels).save(stream, format="PNG")
    return stream.getvalue()
