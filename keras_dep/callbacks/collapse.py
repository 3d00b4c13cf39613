"""The callback that says whether a poisoned batch made the network collapse."""

import keras
import numpy as np

from keras_dep import inference


class CollapseWatch(keras.callbacks.Callback):
    """Measures accuracy and loss on fixed images around each poisoned batch.

    With `chance` the accuracy of guessing, `before` the accuracy just before a poisoned batch and
    `after` the one just behind it:

    - the network **collapsed** when it had learnt something, `before >= 2 chance`, and lost at
      least half of that, `after <= chance + (before - chance) / 2`, or when its loss is no longer
      finite;
    - it **recovered** when a later epoch ends at `chance + 0.9 (before - chance)` or above.

    Give it to `PoisonInjection(watch=...)`, and list both among the callbacks of `fit`.

    Args:
        images: float images in [0, 1], `(n, ...)`, held out of training.
        labels: integer labels `(n,)`.
        chance: accuracy of guessing; default 1 over the number of distinct labels.
        writer: a `keras_dep.summaries.EventWriter`, or `None`.
        batch_size: images per call of the model.

    Attributes:
        events: list of dictionaries, one per poisoned batch: `epoch`, `place`, `before`, `after`
            (accuracies), `loss_before`, `loss_after`, `collapsed`, `recovered_epoch` (`None` while
            it has not).

    Raises:
        ValueError: no images, or labels that do not fit them.

    Example:

    >>> watch = CollapseWatch(np.zeros((4, 3), "float32"), np.array([0, 1, 0, 1]))
    >>> watch.chance, watch.worst_accuracy
    (0.5, None)
    """

    def __init__(self, images, labels, chance=None, writer=None, batch_size=128):
        super().__init__()
        if not len(images) or len(images) != len(labels):
            raise ValueError(
                "CollapseWatch needs at least one image and one label each; received "
                f"{len(images)} images and {len(labels)} labels."
            )
        self.images = images
        self.labels = np.asarray(labels)
        self.chance = 1 / len(np.unique(self.labels)) if chance is None else chance
        self.writer = writer
        self.batch_size = batch_size
        self.events = []
        self._before = None

    @property
    def collapsed(self):
        """Whether any poisoned batch so far made the network collapse."""
        return any(event["collapsed"] for event in self.events)

    @property
    def worst_accuracy(self):
        """Lowest accuracy right behind a poisoned batch, or `None` without one."""
        return min((event["after"] for event in self.events), default=None)

    def before(self, model, epoch, place):
        """Measures ahead of a poisoned batch."""
        self._before = self._measure(model)

    def after(self, model, epoch, place):
        """Measures behind a poisoned batch and judges it."""
        (before, loss_before), (after, loss_after) = self._before, self._measure(model)
        lost_half = after <= self.chance + (before - self.chance) / 2
        collapsed = not np.isfinite(loss_after) or (before >= 2 * self.chance and lost_half)
        self.events.append(
            {
                "epoch": epoch,
                "place": place,
                "before": before,
                "after": after,
                "loss_before": loss_before,
                "loss_after": loss_after,
                "collapsed": bool(collapsed),
                "recovered_epoch": None,
            }
        )
        if self.writer is not None:
            step = int(model.optimizer.iterations)
            self.writer.scalar("poison/accuracy_before", before, step)
            self.writer.scalar("poison/accuracy_after", after, step)
            self.writer.scalar("poison/loss_before", loss_before, step)
            self.writer.scalar("poison/loss_after", loss_after, step)
            self.writer.scalar("poison/collapsed", float(collapsed), step)

    def on_epoch_end(self, epoch, logs=None):
        waiting = [e for e in self.events if e["collapsed"] and e["recovered_epoch"] is None]
        if not waiting:
            return
        accuracy, _ = self._measure(self.model)
        for event in waiting:
            if accuracy >= self.chance + 0.9 * (event["before"] - self.chance):
                event["recovered_epoch"] = epoch

    def get_state(self):
        return {"events": self.events}

    def set_state(self, state):
        self.events = [dict(event) for event in state["events"]]

    def _measure(self, model):
        return inference.accuracy_and_loss(model, self.images, self.labels, self.batch_size)
