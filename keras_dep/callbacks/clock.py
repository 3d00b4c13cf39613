"""The callback that times training steps."""

import statistics
import time

import keras


class StepClock(keras.callbacks.Callback):
    """Median seconds of a training step, data and other callbacks left out.

    List it last among the callbacks. The first step of a `fit`, which compiles, is not counted
    unless it is the only one.

    Attributes:
        epochs: list of per-epoch medians, in seconds.

    Example:

    >>> clock = StepClock()
    >>> clock.seconds_per_step is None
    True
    """

    def __init__(self):
        super().__init__()
        self.epochs = []
        self._steps = []
        self._started = None
        self._compiled = False

    @property
    def seconds_per_step(self):
        """Median over the epochs so far, or `None` before the first ends."""
        return statistics.median(self.epochs) if self.epochs else None

    def on_train_begin(self, logs=None):
        self._compiled = False

    def on_epoch_begin(self, epoch, logs=None):
        self._steps = []

    def on_train_batch_begin(self, batch, logs=None):
        self._started = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        # Reading the loss waits for steps that a backend runs asynchronously.
        float((logs or {}).get("loss", 0.0))
        self._steps.append(time.perf_counter() - self._started)

    def on_epoch_end(self, epoch, logs=None):
        counted = self._steps if self._compiled or len(self._steps) == 1 else self._steps[1:]
        self._compiled = True
        if counted:
            self.epochs.append(statistics.median(counted))

    def get_state(self):
        return {"epochs": self.epochs}

    def set_state(self, state):
        self.epochs = list(state["epochs"])
