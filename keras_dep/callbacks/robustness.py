"""The callback that logs robust accuracy during training."""

import time
from collections.abc import Callable

import keras
import numpy as np

from keras_dep import attacks
from keras_dep._internal import validation
from keras_dep._internal.types import ArrayLike
from keras_dep._internal.types import Record
from keras_dep.attacks.randomness import random_states_kept
from keras_dep.models import inference
from keras_dep.optimizers.iterations import iterations
from keras_dep.summaries import EventWriter


class RobustnessLog(keras.callbacks.Callback):
    """Attacks fixed images every few epochs and logs the accuracy on them.

    Adds `robust_accuracy` to the logs of the epoch, for callbacks such as
    `keras.callbacks.ModelCheckpoint`, and writes `robustness/accuracy`,
    `robustness/non_finite_answers` and `robustness/seconds`. Weights and random generators are left
    as they were. A quick attack shows a trend; report the figure of `keras_dep.evaluate`.

    Args:
        images: images in [0, 1], `(n, ...)`, held out of training.
        labels: integers `(n,)` or `(n, 1)`, or one-hot `(n, classes)`.
        attack: any `attack(model, x, y) -> x_adv`; default `keras_dep.PGD()`.
        every: epochs between measurements, at least 1.
        writer: the `keras_dep.summaries.EventWriter` to write to; `None` writes nothing.
        network: the model to attack; default: the one in `fit`.
        batch_size: images per call of attack and model, at least 1.

    Attributes:
        history: list of dictionaries `epoch`, `accuracy`, `non_finite_answers` (attacked
            images with logits that are not finite, each counted as wrong) and `seconds`.

    Raises:
        ValueError: `every` or `batch_size` below 1, no images, images not finite or outside
            [0, 1], or labels that do not fit them; during measurement, labels that are no class of
            the model.

    Example:

    >>> log = RobustnessLog(np.zeros((4, 3), "float32"), np.array([0, 1, 0, 1]), every=5)
    >>> log.history
    []
    """

    def __init__(
        self,
        images: ArrayLike,
        labels: ArrayLike,
        attack: Callable[..., ArrayLike] | None = None,
        every: int = 1,
        writer: EventWriter | None = None,
        network: keras.Model | None = None,
        batch_size: int = 128,
    ) -> None:
        super().__init__()
        self.images, self.labels = validation.images_and_labels(images, labels)
        self.attack = attack or attacks.PGD()
        self.every = validation.whole_number("every", every)
        self.writer = writer
        self.network = network
        self.batch_size = validation.whole_number("batch_size", batch_size)
        self.history: list[Record] = []

    def on_epoch_end(self, epoch: int, logs: Record | None = None) -> None:
        if (epoch + 1) % self.every:
            return
        record = {"epoch": epoch, **self.measure()}
        self.history.append(record)
        if logs is not None:
            logs["robust_accuracy"] = record["accuracy"]
        if self.writer is not None:
            step = iterations(self.model.optimizer)
            for name in ("accuracy", "non_finite_answers", "seconds"):
                self.writer.scalar(f"robustness/{name}", record[name], step)

    def measure(self) -> Record:
        """Attacks now; returns an entry of `history` without the epoch."""
        model, started, size = self.network or self.model, time.perf_counter(), self.batch_size
        crafted = [
            self.attack(model, self.images[i : i + size], self.labels[i : i + size])
            for i in range(0, len(self.images), size)
        ]
        with random_states_kept(model):
            found = inference.score(model, np.concatenate(crafted), self.labels, size)
        return {
            "accuracy": found.accuracy,
            "non_finite_answers": found.non_finite_answers,
            "seconds": time.perf_counter() - started,
        }

    def get_state(self) -> Record:
        """Returns what `ResumeState` saves, as JSON can hold it."""
        return {"history": self.history}

    def set_state(self, state: Record) -> None:
        """Takes back what `get_state` returned."""
        self.history = list(state["history"])
