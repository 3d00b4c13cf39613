"""The callback that follows robust accuracy during training."""

import time

import keras
import numpy as np

from keras_dep import attacks
from keras_dep import inference
from keras_dep.attacks.gradient import random_states_kept


class RobustnessLog(keras.callbacks.Callback):
    """Attacks fixed images after every so many epochs and logs the accuracy on them.

    Adds `robust_accuracy` to the logs of the epoch, where other callbacks such as
    `keras.callbacks.ModelCheckpoint` find it, and writes `robustness/accuracy` and
    `robustness/seconds`. Training is not disturbed. A quick attack shows a trend; the figure to
    report is that of `keras_dep.evaluate`.

    Args:
        images: float images in [0, 1], `(n, ...)`, held out of training.
        labels: integer labels `(n,)`.
        attack: any `attack(model, x, y) -> x_adv`; default `keras_dep.PGD()`.
        every: epochs from one measurement to the next, at least 1.
        writer: a `keras_dep.summaries.EventWriter`, or `None`.
        network: the model to attack where it is not the one in `fit`.
        batch_size: images at a time.

    Attributes:
        history: list of dictionaries `epoch`, `accuracy`, `seconds`.

    Raises:
        ValueError: `every` below 1, no images, or labels that do not fit them.

    Example:

    >>> log = RobustnessLog(np.zeros((4, 3), "float32"), np.array([0, 1, 0, 1]), every=5)
    >>> log.history
    []
    """

    def __init__(
        self, images, labels, attack=None, every=1, writer=None, network=None, batch_size=128
    ):
        super().__init__()
        if type(every) is not int or every < 1:
            raise ValueError(f"every must be a number of epochs, at least 1; received {every!r}.")
        if not len(images) or len(images) != len(labels):
            raise ValueError(
                "RobustnessLog needs at least one image and one label each; received "
                f"{len(images)} images and {len(labels)} labels."
            )
        self.images = np.asarray(images, "float32")
        self.labels = np.asarray(labels)
        self.attack = attack or attacks.PGD()
        self.every = every
        self.writer = writer
        self.network = network
        self.batch_size = batch_size
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
            self.writer.scalar("robustness/accuracy", record["accuracy"], step)
            self.writer.scalar("robustness/seconds", record["seconds"], step)

    def measure(self):
        """Attacks now; returns a dictionary of `accuracy` and `seconds`."""
        model, started, size = self.network or self.model, time.perf_counter(), self.batch_size
        crafted = [
            self.attack(model, self.images[i : i + size], self.labels[i : i + size])
            for i in range(0, len(self.images), size)
        ]
        with random_states_kept(model):
            accuracy, _ = inference.accuracy_and_loss(
                model, np.concatenate(crafted), self.labels, size
            )
        return {"accuracy": accuracy, "seconds": time.perf_counter() - started}

    def get_state(self):
        return {"history": self.history}

    def set_state(self, state):
        self.history = list(state["history"])
