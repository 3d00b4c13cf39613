"""The writer of event files.

It writes the messages of tensorboardX in the calling thread. `tensorboardX.SummaryWriter` writes in
a second thread, which ends when the disk is full: training then blocks forever on a full queue. Its
`flush` returns before queued records are in the file, and a killed process loses them.
"""

import contextlib
import os
import re
import socket
import time
import types
from collections.abc import Generator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from keras_dep._internal import atomic_io
from keras_dep._internal.types import ArrayLike
from keras_dep.summaries import records
from keras_dep.summaries import values as checks


class EventWriter:
    """Writes scalars, images, text and hyper-parameters for TensorBoard.

    Each record reaches the operating system before its method returns, so a killed process loses
    no record; `flush` also reaches the disk. A resumed run opens a new file in the same folder,
    named so that it sorts after the older ones. If a writer is not closed, only the run's status in
    the HParams tab is missing.

    Args:
        logdir: local folder, created if needed. One folder is one run in TensorBoard's list; use
            `<run>/train` and `<run>/validation` to match Keras.
        purge_step: the first step that a resumed run will write. TensorBoard then drops records of
            older files in the folder at this step or later; `None` keeps all.

    Attributes:
        logdir: the folder.
        seconds: time this writer has spent on writing so far.

    Raises:
        ValueError: the folder cannot be written, or `purge_step` is not a step.
        OSError: the disk is full or fails, in any method; one line with the folder and the free
            space.

    Example:

    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> with EventWriter(folder) as writer:
    ...     writer.hparams({"learning_rate": 0.1}, metrics=["accuracy"])
    ...     writer.scalar("accuracy", 0.5, step=100)
    >>> [name.startswith("events.out.tfevents.") for name in os.listdir(folder)]
    [True]
    """

    def __init__(self, logdir: str | os.PathLike[str], purge_step: int | None = None) -> None:
        if purge_step is not None:
            purge_step = checks.check_step(purge_step, "purge_step")
        self.seconds = 0.0
        self._has_hparams = False
        try:
            self.logdir = os.fspath(logdir)
            os.makedirs(self.logdir, exist_ok=True)
            self._file = open(os.path.join(self.logdir, _new_file_name(self.logdir)), "xb")
        except (OSError, TypeError) as error:
            raise ValueError(
                f"logdir must be a folder that can be written; received {logdir!r} ({error}); "
                "choose another folder or mend its permissions."
            ) from error
        self._write(records.header())
        if purge_step is not None:
            self._write(records.restart(), purge_step)

    def scalar(self, tag: str, value: ArrayLike, step: int) -> None:
        """Writes one number, NaN and infinities included.

        Args:
            tag: string, `"group/name"`.
            value: number or one-element tensor, stored as float32.
            step: integer >= 0; by convention the optimizer's iteration.

        Raises:
            ValueError: an argument of another kind, or a closed writer.
        """
        number = checks.check_number(value, tag)
        self._write(records.scalar(checks.check_tag(tag), number), step)

    def image(self, tag: str, images: ArrayLike, step: int, max_images: int = 16) -> None:
        """Writes images as PNG; several appear side by side under one tag.

        Args:
            tag: string, `"group/name"`.
            images: floats in [0, 1], `(H, W, C)` or `(N, H, W, C)` with 1 or 3 channels.
            step: integer >= 0.
            max_images: how many of the N images are kept, the first ones.

        Raises:
            ValueError: an argument of another kind, or a closed writer.
        """
        pixels = checks.check_images(images)[:max_images]
        self._write(records.images(checks.check_tag(tag), pixels), step)

    def text(self, tag: str, markdown: str, step: int) -> None:
        """Writes a passage of Markdown.

        Args:
            tag: string, `"group/name"`.
            markdown: string.
            step: integer >= 0.

        Raises:
            ValueError: an argument of another kind, or a closed writer.
        """
        markdown = checks.check_text(markdown)
        self._write(records.text(checks.check_tag(tag), markdown), step)

    def layout(self, categories: Mapping[str, Mapping[str, Sequence[str]]]) -> None:
        """Writes the charts of the Custom Scalars tab, each with the curves of all runs.

        TensorBoard merges the layouts of the runs that it shows; equal ones count once.

        Args:
            categories: dict from the title of a group of charts to a dict from a chart's title to
                a list of regular expressions; a tag that matches one from its first character on
                is a curve of that chart.

        Raises:
            ValueError: a chart without a list of strings, or a closed writer.
        """
        for charts in categories.values():
            for title, tags in charts.items():
                checks.check_tags(f"chart {title!r}", tags)
        self._write(records.layout(categories))

    def hparams(self, values: Mapping[str, Any], metrics: Sequence[str]) -> None:
        """Starts the run's row in the HParams tab; `close` ends it with a status.

        TensorBoard takes the columns from the first run that it finds, and each row from the first
        record of its run: use the same names in all runs under one folder.

        Args:
            values: dict from name to bool, number, string, `None` or a list of these.
            metrics: list of scalar tags to show beside the values.

        Raises:
            ValueError: an argument of another kind, a second call, or a closed writer.
        """
        if self._has_hparams:
            raise ValueError(
                f"hparams() describes a run once; received a second call for {self.logdir!r}; "
                "open another writer for another run."
            )
        metrics = checks.check_tags("metrics", metrics)
        shown = {str(name): checks.check_hparam(name, value) for name, value in values.items()}
        self._write(records.session_start(shown, metrics))
        self._has_hparams = True

    def flush(self) -> None:
        """Waits until everything written so far is on the disk."""
        with self._guarded():
            self._file.flush()
            os.fsync(self._file.fileno())

    def close(self, status: str | None = "success") -> None:
        """Ends the run and closes the file; a second call does nothing.

        Args:
            status: `"success"` or `"failure"` for the HParams tab, which keeps a run's first
                status; `None` leaves it open, for a run that will be resumed.

        Raises:
            ValueError: another status.
        """
        if status not in ("success", "failure", None):
            raise ValueError(f"status must be 'success', 'failure' or None; received {status!r}.")
        if self._file.closed:
            return
        try:
            if self._has_hparams and status is not None:
                self._write(records.session_end(status))
            self.flush()
        finally:
            with self._guarded():
                self._file.close()

    def __enter__(self) -> "EventWriter":
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        interrupted = error_type is not None and not issubclass(error_type, Exception)
        self.close(None if interrupted else "failure" if error_type else "success")

    def _write(self, events: Sequence[dict[str, Any]], step: int = 0) -> None:
        step = checks.check_step(step, "step")
        with self._guarded():
            self._file.writelines(records.framed(step, content) for content in events)
            self._file.flush()

    @contextlib.contextmanager
    def _guarded(self) -> Generator[None, None, None]:
        """Measures the seconds, and adds path and free space to errors of the disk."""
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


def _new_file_name(logdir: str) -> str:
    # Readers sort files by name: a restart within a second or after a clock change must sort last.
    matches = [re.match(r"events\.out\.tfevents\.(\d{10})\.", name) for name in os.listdir(logdir)]
    stamp = max([int(time.time()), *(int(match[1]) + 1 for match in matches if match)])
    return f"events.out.tfevents.{stamp:010d}.{socket.gethostname()}.{os.getpid()}.0"
