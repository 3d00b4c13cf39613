"""The callback that times training steps."""

import statistics
import time

import keras

from keras_dep._internal.types import Record


class StepClock(keras.callbacks.Callback):
    """Measures the median seconds of a training step, without data loading and other callbacks.

    List it last among the callbacks. The first step of a `fit`, which compiles, is not counted
    unless it is the only one.

    Attributes:
        epochs: list of the median of each epoch, in seconds.

    Example:

    >>> clock = StepClock()
    >>> clock.seconds_per_step is None
    True
    """

    def __init__(self) -> None:
        super().__init__()
        self.epochs: list[float] = []
        self._steps: list[float] = []
        self._started = 0.0
        self._compiled = False

    @property
    def seconds_per_step(self) -> float | None:
        """Median over the epochs so far; `None` before the first has ended."""
        return statistics.median(self.epochs) if self.epochs else None

    def on_train_begin(self, logs: Record | None = None) -> None:
        self._compiled = False

    def on_epoch_begin(self, epoch: int, logs: Record | None = None) -> None:
        self._steps = []

    def on_train_batch_begin(self, batch: int, logs: Record | None = None) -> None:
        self._started = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Record | None = None) -> None:
        # Some backends run steps asynchronously; reading the loss waits for this one.
        float((logs or {}).get("loss", 0.0))
        self._steps.append(time.perf_counter() - self._started)

    def on_epoch_end(self, epoch: int, logs: Record | None = None) -> None:
        counted = self._steps if self._compiled or len(self._steps) == 1 else self._steps[1:]
        self._compiled = True
        if counted:
            self.epochs.append(statistics.median(counted))

    def get_state(self) -> Record:
        """Returns what `ResumeState` saves, as JSON can hold it."""
        return {"epochs": self.epochs}

    def set_state(self, state: Record) -> None:
        """Takes back what `get_state` returned."""
        self.epochs = list(state["epochs"])
