"""The callback that says whether a poisoned batch made the network collapse."""

import keras
import numpy as np

from keras_dep._internal import validation
from keras_dep.models import inference


class CollapseWatch(keras.callbacks.Callback):
    """Measures accuracy and loss on fixed images around each poisoned batch.

    With `chance` the accuracy of guessing, `before` the accuracy just before a poisoned batch and
    `after` the one just behind it:

    - the network **collapsed** when it had learnt something, `before >= 2 chance`, and lost at
      least half of that, `after <= chance + (before - chance) / 2`, or when its loss is no longer
      finite, as it is where an answer is not;
    - it **recovered** when a later epoch ends at `chance + 0.9 (before - chance)` or above.

    Give it to `PoisonInjection(watch=...)`, and list both among the callbacks of `fit`.

    Args:
        images: images in [0, 1], `(n, ...)`, held out of training.
        labels: whole numbers `(n,)` or `(n, 1)`, or one-hot rows `(n, classes)`.
        chance: accuracy of guessing; default 1 over the number of distinct labels.
        writer: a `keras_dep.summaries.EventWriter`, or `None`.
        batch_size: images per call of the model, at least 1.

    Attributes:
        events: list of dictionaries, one per poisoned batch: `epoch`, `place`, `before`, `after`
            (accuracies), `loss_before`, `loss_after`, `non_finite_answers` (the number of images
            answered with something that is not finite behind the batch, each of them wrong),
            `collapsed`, `recovered_epoch` (`None` while it has not).

    Raises:
        ValueError: images that are none, not finite or outside [0, 1], or labels that do not fit
            them; when it measures, labels that are no class of the model.

    Example:

    >>> watch = CollapseWatch(np.zeros((4, 3), "float32"), np.array([0, 1, 0, 1]))
    >>> watch.chance, watch.worst_accuracy
    (0.5, None)
    """

    def __init__(self, images, labels, chance=None, writer=None, batch_size=128):
        super().__init__()
        self.images, self.labels = validation.images_and_labels(images, labels)
        self.chance = 1 / len(np.unique(self.labels)) if chance is None else chance
        self.writer = writer
        self.batch_size = validation.whole_number("batch_size", batch_size)
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
        before, loss_before, _ = self._before
        after, loss_after, non_finite_answers = self._measure(model)
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
                "non_finite_answers": non_finite_answers,
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
            self.writer.scalar("poison/non_finite_answers", non_finite_answers, step)
            self.writer.scalar("poison/collapsed", float(collapsed), step)

    def on_epoch_end(self, epoch, logs=None):
        waiting = [e for e in self.events if e["collapsed"] and e["recovered_epoch"] is None]
        if not waiting:
            return
        accuracy = self._measure(self.model).accuracy
        for event in waiting:
            if accuracy >= self.chance + 0.9 * (event["before"] - self.chance):
                event["recovered_epoch"] = epoch

    def get_state(self):
        return {"events": self.events}

    def set_state(self, state):
        self.events = [dict(event) for event in state["events"]]

    def _measure(self, model):
        return inference.score(model, self.images, self.labels, self.batch_size)
