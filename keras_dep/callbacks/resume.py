"""The callback that saves a run after every epoch, so that an interrupted run resumes exactly."""

import os
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_dep._internal.types import Record
from keras_dep.optimizers.iterations import iterations
from keras_dep.training import checkpoint
from keras_dep.training import state_file


class ResumeState(keras.callbacks.Callback):
    """Saves the whole training state at the end of each epoch and restores it after a crash.

    The state holds the model's variables (weights, normalisation statistics, seed generators), the
    optimizer's (moments, iterations, learning rate), the counters of other callbacks, and the
    history. A resumed run ends with exactly the weights of an uninterrupted one, provided that its
    batches depend on (seed, epoch, index) alone and that every random layer draws from a seed
    generator: the global generators of NumPy and of the frameworks are not saved. On torch,
    `keras.layers.Dropout` without a `seed` draws from such a global generator.

    List it after the callbacks whose work at the end of an epoch belongs to the state.

    The files are in the safetensors format, see `keras_dep.training.state_file`.

    Args:
        path: the state is written to `<path>.0` and `<path>.1` in turn; the folder is created if
            needed. The disk needs room for three copies: two generations and the one being written.
        callbacks: objects whose counters belong to the run, as a list, or as a dict from name to
            object. Each has `get_state() -> JSON-able dict` and `set_state(dict)`. `set_state` is
            called by `restore` and again when training begins, because many callbacks reset
            themselves there.
        data: data set that counts its epochs in an attribute `epoch`, such as
            `keras_dep.data.Batches`; `restore` sets it to the next epoch.
        metadata: JSON-able dict that identifies the run, such as its flags. `restore` refuses a
            state with different metadata.
        writes: whether this process writes the files: `False` on workers other than the chief,
            which restore from the same files.

    Attributes:
        epochs_completed: epochs in the last state saved or restored.
        iterations: optimizer iterations in that state.
        finished: whether that state is the end of a `fit` that ran to its end.
        history: dict from metric to its value per epoch, over all restarts.

    Raises:
        ValueError: an argument of another kind, a path that cannot be written, a state of another
            run, an existing state that was not restored, or no readable generation.
        OSError: a state could not be written; the message has the path and the free space.

    Example:

    >>> import tempfile
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> state = ResumeState(tempfile.mkdtemp() + "/state")
    >>> first_epoch = state.restore(model)
    >>> x, y = np.ones((8, 3)), np.ones((8, 1))
    >>> _ = model.fit(x, y, 4, 2, 0, [state], initial_epoch=first_epoch)
    >>> first_epoch, state.restore(model)
    (0, 2)
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        callbacks: Mapping[str, Any] | Sequence[Any] = (),
        data: Any = None,
        metadata: Record | None = None,
        writes: bool = True,
    ) -> None:
        super().__init__()
        if not isinstance(path, (str, os.PathLike)) or not os.path.basename(os.fspath(path)):
            raise ValueError(
                f"path must name a file without ending; received {path!r}; "
                "write for example 'runs/first/state'."
            )
        self.path = os.path.abspath(os.fspath(path))
        self.callbacks = _with_counters(callbacks)
        if data is not None and not hasattr(data, "epoch"):
            raise ValueError(
                f"data must have an attribute epoch; received a {type(data).__name__}; "
                "leave it out if its batches are the same in every epoch."
            )
        self.data = data
        self.writes = writes
        self.metadata = state_file.as_json(metadata or {}, "metadata")
        self.epochs_completed = 0
        self.iterations = 0
        self.finished = False
        self.history: dict[str, list] = {}
        self._claimed = False
        self._counters: Record = {}

    @property
    def paths(self) -> tuple[str, str]:
        """The two files, the one of even epochs first."""
        return state_file.generations(self.path)

    def restore(self, model: keras.Model) -> int:
        """Restores the newest undamaged state; call it before `fit`.

        Args:
            model: built and compiled; its optimizer is built here if needed.

        Returns:
            Number of epochs completed, for `initial_epoch` of `fit`; 0 if there is no state.

        Raises:
            ValueError: the model is not ready, or no generation can be read or is of this run.
        """
        checkpoint.check_ready(model)
        state = state_file.newest(self.path)
        if state is None:
            self._claimed = True
            return 0
        checkpoint.check_same_run(state, self.path, self.metadata, self.callbacks)
        checkpoint.restore(model, state, self.path)
        self.epochs_completed = state.epochs_completed
        self.iterations = state.iterations
        self.finished = state.finished
        self.history = state.history
        self._claimed = True
        self._counters = state.counters
        self._restore_counters()
        if self.data is not None:
            self.data.epoch = self.epochs_completed
        return self.epochs_completed

    def on_train_begin(self, logs: Record | None = None) -> None:
        if self.writes:
            state_file.check_writable(self.path)
        existing = [path for path in self.paths if os.path.exists(path)]
        if existing and not self._claimed:
            raise ValueError(
                f"{existing[0]} holds the state of another run; received a fit without restore; "
                "call restore(model) before it, or choose another path."
            )
        self._claimed = True
        self._restore_counters()
        self._counters = {}

    def on_epoch_begin(self, epoch: int, logs: Record | None = None) -> None:
        if self.epochs_completed and epoch != self.epochs_completed:
            raise ValueError(
                f"fit must continue at epoch {self.epochs_completed}; received epoch {epoch}; "
                f"write fit(..., initial_epoch={self.epochs_completed})."
            )

    def on_epoch_end(self, epoch: int, logs: Record | None = None) -> None:
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(np.asarray(value).tolist())
        self._save(epoch + 1, finished=False)

    def on_train_end(self, logs: Record | None = None) -> None:
        # Other callbacks may have changed the weights by now, to their best or their average.
        if self.epochs_completed:
            self._save(self.epochs_completed, finished=True)

    def _save(self, epochs_completed: int, finished: bool) -> None:
        state = state_file.State(
            variables=checkpoint.snapshot(self.model),
            optimizer=type(self.model.optimizer).__name__,
            epochs_completed=epochs_completed,
            iterations=iterations(self.model.optimizer),
            finished=finished,
            counters={name: item.get_state() for name, item in self.callbacks.items()},
            history=self.history,
            metadata=self.metadata,
        )
        try:
            if self.writes:
                state_file.save(self.path, state)
        except OSError as error:
            raise OSError(
                error.errno,
                f"{error.strerror}; make room, then resume from epoch {self.epochs_completed}",
            ) from error
        self.epochs_completed = epochs_completed
        self.iterations = state.iterations
        self.finished = finished

    def _restore_counters(self) -> None:
        for name, counters in self._counters.items():
            self.callbacks[name].set_state(counters)


def _with_counters(callbacks: Mapping[str, Any] | Sequence[Any]) -> dict[str, Any]:
    if not isinstance(callbacks, Mapping):
        callbacks = {f"{type(item).__name__} {i}": item for i, item in enumerate(callbacks)}
    for name, callback in callbacks.items():
        if not (hasattr(callback, "get_state") and hasattr(callback, "set_state")):
            raise ValueError(
                f"callbacks must have get_state() and set_state(); received {name!r} without; "
                "add the two methods, or leave it out."
            )
    return dict(callbacks)
