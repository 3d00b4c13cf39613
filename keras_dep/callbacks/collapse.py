"""The callback that decides whether a poisoned batch made the network collapse."""

import keras
import numpy as np

from keras_dep._internal import validation
from keras_dep._internal.types import ArrayLike
from keras_dep._internal.types import Record
from keras_dep.models import inference
from keras_dep.optimizers.iterations import iterations
from keras_dep.summaries import EventWriter


class CollapseWatch(keras.callbacks.Callback):
    """Measures accuracy and loss on fixed images around each poisoned batch.

    With `chance` the accuracy of guessing, and `before` and `after` the accuracies right before and
    after a poisoned batch:

    - the network **collapsed** if it had learnt something, `before >= 2 chance`, and lost at least
      half of that, `after <= chance + (before - chance) / 2`, or if its loss is not finite;
    - it **recovered** if a later epoch ends at `chance + 0.9 (before - chance)` or above.

    Pass it to `PoisonInjection(watch=...)`, and list both among the callbacks of `fit`.

    Writes `collapse/accuracy`, one curve through the accuracies before and after each poisoned
    batch and at the end of each epoch while a collapse lasts. For each poisoned batch it also
    writes `poison/accuracy_before`, `poison/accuracy_after`, `poison/loss_before`,
    `poison/loss_after`, `poison/non_finite_answers` and `poison/collapsed` (0 or 1). Steps are the
    optimizer's iterations.

    Args:
        images: images in [0, 1], `(n, ...)`, held out of training.
        labels: integers `(n,)` or `(n, 1)`, or one-hot `(n, classes)`.
        chance: accuracy of guessing; default 1 over the number of distinct labels.
        writer: the `keras_dep.summaries.EventWriter` to write to; `None` writes nothing.
        batch_size: images per call of the model, at least 1.

    Attributes:
        events: list of dictionaries, one per poisoned batch: `epoch`, `place`, `before`, `after`
            (accuracies), `loss_before`, `loss_after`, `non_finite_answers` (images with
            logits that are not finite after the batch, each counted as wrong), `collapsed`,
            `recovered_epoch` (`None` until then).

    Raises:
        ValueError: no images, images not finite or outside [0, 1], or labels that do not fit them;
            during measurement, labels that are no class of the model.

    Example:

    >>> watch = CollapseWatch(np.zeros((4, 3), "float32"), np.array([0, 1, 0, 1]))
    >>> watch.chance, watch.worst_accuracy
    (0.5, None)
    """

    def __init__(
        self,
        images: ArrayLike,
        labels: ArrayLike,
        chance: float | None = None,
        writer: EventWriter | None = None,
        batch_size: int = 128,
    ) -> None:
        super().__init__()
        self.images, self.labels = validation.images_and_labels(images, labels)
        self.chance = 1 / len(np.unique(self.labels)) if chance is None else chance
        self.writer = writer
        self.batch_size = validation.whole_number("batch_size", batch_size)
        self.events: list[Record] = []
        self._before: inference.Score | None = None

    @property
    def collapsed(self) -> bool:
        """Whether any poisoned batch so far made the network collapse."""
        return any(event["collapsed"] for event in self.events)

    @property
    def worst_accuracy(self) -> float | None:
        """Lowest accuracy right after a poisoned batch; `None` without one."""
        return min((event["after"] for event in self.events), default=None)

    def before(self, model: keras.Model, epoch: int, place: int) -> None:
        """Measures the model before a poisoned batch; `epoch` and `place` are not used."""
        self._before = self._measure(model)

    def after(self, model: keras.Model, epoch: int, place: int) -> None:
        """Measures the model after a poisoned batch, and adds to `events`.

        Args:
            model: the model in `fit`.
            epoch: number of the epoch, from 0.
            place: index of the ordinary batch that follows the poisoned one, or that it replaces.

        Raises:
            ValueError: `before` was not called.
        """
        if self._before is None:
            raise ValueError("after() needs a measurement to compare with; call before() first.")
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
            step = iterations(model.optimizer)
            self.writer.scalar("poison/accuracy_before", before, step)
            self.writer.scalar("poison/accuracy_after", after, step)
            self.writer.scalar("poison/loss_before", loss_before, step)
            self.writer.scalar("poison/loss_after", loss_after, step)
            self.writer.scalar("poison/non_finite_answers", non_finite_answers, step)
            self.writer.scalar("poison/collapsed", float(collapsed), step)

    def on_epoch_end(self, epoch: int, logs: Record | None = None) -> None:
        waiting = [e for e in self.events if e["collapsed"] and e["recovered_epoch"] is None]
        if not waiting:
            return
        accuracy = self._measure(self.model).accuracy
        for event in waiting:
            if accuracy >= self.chance + 0.9 * (event["before"] - self.chance):
                event["recovered_epoch"] = epoch

    def get_state(self) -> Record:
        """Returns what `ResumeState` saves, as JSON can hold it."""
        return {"events": self.events}

    def set_state(self, state: Record) -> None:
        """Takes back what `get_state` returned."""
        self.events = [dict(event) for event in state["events"]]

    def _measure(self, model: keras.Model) -> inference.Score:
        score = inference.score(model, self.images, self.labels, self.batch_size)
        if self.writer is not None:
            step = iterations(model.optimizer)
            self.writer.scalar("collapse/accuracy", score.accuracy, step)
        return score
