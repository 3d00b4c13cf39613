"""The callback that follows robust accuracy during training."""

import time

import keras
import numpy as np

from keras_dep import attacks
from keras_dep._internal import validation
from keras_dep.attacks.gradient_attack import random_states_kept
from keras_dep.models import inference


class RobustnessLog(keras.callbacks.Callback):
    """Attacks fixed images after every so many epochs and logs the accuracy on them.

    Adds `robust_accuracy` to the logs of the epoch, where other callbacks such as
    `keras.callbacks.ModelCheckpoint` find it, and writes `robustness/accuracy` and
    `robustness/seconds`. Training is not disturbed. A quick attack shows a trend; the figure to
    report is that of `keras_dep.evaluate`.

    Args:
        images: images in [0, 1], `(n, ...)`, held out of training.
        labels: whole numbers `(n,)` or `(n, 1)`, or one-hot rows `(n, classes)`.
        attack: any `attack(model, x, y) -> x_adv`; default `keras_dep.PGD()`.
        every: epochs from one measurement to the next, at least 1.
        writer: a `keras_dep.summaries.EventWriter`, or `None`.
        network: the model to attack where it is not the one in `fit`.
        batch_size: images at a time, at least 1.

    Attributes:
        history: list of dictionaries `epoch`, `accuracy`, `non_finite_answers` (the number of
            attacked images answered with something that is not finite, each of them wrong) and
            `seconds`.

    Raises:
        ValueError: `every` or `batch_size` below 1, images that are none, not finite or outside
            [0, 1], or labels that do not fit them; when it measures, labels that are no class of
            the model.

    Example:

    >>> log = RobustnessLog(np.zeros((4, 3), "float32"), np.array([0, 1, 0, 1]), every=5)
    >>> log.history
    []
    """

    def __init__(
        self, images, labels, attack=None, every=1, writer=None, network=None, batch_size=128
    ):
        super().__init__()
        self.images, self.labels = validation.images_and_labels(images, labels)
        self.attack = attack or attacks.PGD()
        self.every = validation.whole_number("every", every)
        self.writer = writer
        self.network = network
        self.batch_size = validation.whole_number("batch_size", batch_size)
        self.history = []

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self.every:
            return
        record = {"epoch": epoch, **self.measure()}
        self.history.append(record)
        if logs is not None:
            logs["robust_accuracy"] = record["accuracy"]
        if self.writer is not None:
            step = int(self.model.optimizer.iterations)
            for name in ("accuracy", "non_finite_answers", "seconds"):
                self.writer.scalar(f"robustness/{name}", record[name], step)

    def measure(self):
        """Attacks now; returns a dictionary as in `history`, without the epoch."""
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

    def get_state(self):
        return {"history": self.history}

    def set_state(self, state):
        self.history = list(state["history"])
