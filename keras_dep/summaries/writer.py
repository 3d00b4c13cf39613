"""The writer of event files.

`EventFileWriter` of the `tensorboard` package opens its file through a compatibility layer that
imports TensorFlow wherever it is installed. The record writer underneath does not, so the files
here are plain Python files behind that record writer.
"""

import contextlib
import io
import os
import re
import socket
import time

import numpy as np

from keras_dep._internal import atomic_io
from keras_dep._internal import keras_internals
from keras_dep.summaries import hparams
from keras_dep.summaries import images as pictures
from keras_dep.summaries.values import brief
from keras_dep.summaries.values import check_step
from keras_dep.summaries.values import to_numpy


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
    >>> from keras_dep.summaries import read_scalars
    >>> folder = tempfile.mkdtemp()
    >>> with EventWriter(folder) as writer:
    ...     writer.hparams({"learning_rate": 0.1}, metrics=["accuracy"])
    ...     writer.scalar("accuracy", 0.5, step=100)
    >>> read_scalars(folder)
    {'accuracy': [(100, 0.5)]}
    """

    def __init__(self, logdir, purge_step=None):
        if purge_step is not None:
            purge_step = check_step(purge_step, "purge_step")
        self.seconds = 0.0
        self._board = keras_internals.tensorboard_parts()
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
            number = float(np.reshape(to_numpy(value), ()))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"value must be one number; received {brief(value)} for tag={tag!r}; "
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
        images = pictures.check(images)[:max_images]
        size = [str(images.shape[2]).encode(), str(images.shape[1]).encode()]
        parts = [*size, *map(pictures.encode_png, images)]
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
                f"markdown must be a string; received {brief(markdown)}; convert it with str()."
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
        for tag, contents in hparams.begun(self._board, values, metrics):
            self._write_hparams(tag, **contents)
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
                tag, contents = hparams.ended(self._board, status)
                self._write_hparams(tag, **contents)
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
        self._write(check_step(step, "step"), summary={"value": [value]})

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
            place = f"{self.logdir!r} ({atomic_io.free_bytes(self.logdir)} bytes free)"
            raise OSError(error.errno, f"cannot write events to {place}: {error}") from error
        finally:
            self.seconds += time.perf_counter() - start


def _new_file_name(logdir):
    # Readers take files in name order: neither a quick restart nor a clock set back may sort first.
    matches = [re.match(r"events\.out\.tfevents\.(\d{10})\.", name) for name in os.listdir(logdir)]
    stamp = max([int(time.time()), *(int(match[1]) + 1 for match in matches if match)])
    return f"events.out.tfevents.{stamp:010d}.{socket.gethostname()}.{os.getpid()}.0"
