"""The callback that inserts poisoned batches during `fit`."""

import itertools
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_dep import distribution
from keras_dep._internal.types import ArrayLike
from keras_dep._internal.types import Record
from keras_dep.callbacks.collapse import CollapseWatch
from keras_dep.optimizers.iterations import iterations
from keras_dep.summaries import EventWriter
from keras_dep.training.poison_schedule import PoisonSchedule
from keras_dep.training.recalibration import running_statistics


class PoisonInjection(keras.callbacks.Callback):
    """Inserts extra training batches during `fit`, on any model and backend.

    Each extra batch is one ordinary training step, bit-equal to the same batch at that place in
    the data. The metrics of the epoch leave it out. The optimizer's iterations count it, and so
    does a schedule of iterations. With `steps_per_execution > 1` a batch is inserted before the
    execution that holds its place. With `keras_dep.distribution`, all workers insert the batch at
    the same place, and each attacks and trains on its own part of it.

    Keras does not tell callbacks of `fit(class_weight=...)`: pass the same here. Weighted samples
    in `fit` beside unweighted extra ones are refused, at the first such batch at the latest.

    Writes `poison/injected`, the number of poisoned batches so far, and `poison/loss`, the loss on
    an inserted one. Steps are the optimizer's iterations.

    Args:
        schedule: a `keras_dep.PoisonSchedule`.
        source: function `(epoch, number) -> (x, y)` or `(x, y, sample_weight)` that returns the
            batch, for example a `keras_dep.training.PoisonSource`; `None` where the data set holds
            the poisoned batches in place of ordinary ones, and this callback only reports them.
        attack: attack that perturbs the extra batch under the current weights; `None` inserts it
            as it is.
        watch: the `keras_dep.callbacks.CollapseWatch` to call before and after each poisoned batch.
        writer: the `keras_dep.summaries.EventWriter` to write to; `None` writes nothing.
        class_weight: the same dictionary from class to weight as in `fit`, or `None`.
        freeze_statistics: give the running statistics of batch normalisation their values from
            before each inserted batch.

    Attributes:
        injected: list of dictionaries `epoch`, `place`, `iteration`, `loss` (`None` for a replaced
            batch), in order.

    Raises:
        ValueError: in `fit`, data of unknown length, or weights of samples or classes on one side
            only.

    Source: arXiv 2505.11134, Section 3.

    Example:

    >>> import numpy as np
    >>> from keras_dep.training.poison_schedule import PoisonSchedule
    >>> extra = lambda epoch, number: (np.ones((2, 3), "float32"), np.ones((2, 1), "float32"))
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> poison = PoisonInjection(PoisonSchedule(count=2), extra)
    >>> _ = model.fit(np.zeros((8, 3)), np.zeros((8, 1)), batch_size=2, verbose=0,
    ...               callbacks=[poison])
    >>> len(poison.injected), int(model.optimizer.iterations)
    (2, 6)
    """

    def __init__(
        self,
        schedule: PoisonSchedule,
        source: Callable[[int, int], tuple[ArrayLike, ...]] | None = None,
        attack: Callable[..., ArrayLike] | None = None,
        watch: CollapseWatch | None = None,
        writer: EventWriter | None = None,
        class_weight: dict[int, float] | None = None,
        freeze_statistics: bool = False,
    ) -> None:
        super().__init__()
        self.schedule = schedule
        self.source = source
        self.attack = attack
        self.watch = watch
        self.writer = writer
        self.class_weight = class_weight
        self.freeze_statistics = freeze_statistics
        self.injected: list[Record] = []
        self._epoch = 0
        self._pending: list[tuple[int, int]] = []
        # Whether the samples of `fit` and of extra batches have weights, as far as is known.
        self._weighted: dict[str, bool] = {}
        self._inserting = False

    def on_train_begin(self, logs: Record | None = None) -> None:
        self._weighted, self._inserting = {}, False
        if self.source is not None:
            _at_first_batch(self.model, self._compare, unless=lambda: self._inserting)

    def on_epoch_begin(self, epoch: int, logs: Record | None = None) -> None:
        steps = self.params["steps"]
        if steps is None and self.schedule.poisons(epoch):
            raise ValueError(
                "PoisonInjection needs to know the steps of an epoch; received data of unknown "
                "length; pass steps_per_epoch to fit."
            )
        places = self.schedule.batches if self.source is None else self.schedule.gaps
        self._epoch = epoch
        self._pending = list(enumerate(places(epoch, steps or 0)))

    def on_train_batch_begin(self, batch: int, logs: Record | None = None) -> None:
        if self.source is None:
            if self._due(batch):
                self._observe("before", self._pending[0][1])
            return
        while self._due(batch):
            self._insert(*self._pending.pop(0))

    def on_train_batch_end(self, batch: int, logs: Record | None = None) -> None:
        if self.source is None:
            while self._due(batch):
                _, place = self._pending.pop(0)
                self._report(place, None)
                self._observe("after", place)
        elif self._pending and batch == self.params["steps"] - 1:
            while self._pending:
                self._insert(*self._pending.pop(0))

    def get_state(self) -> Record:
        """Returns what `ResumeState` saves, as JSON can hold it."""
        return {"injected": self.injected}

    def set_state(self, state: Record) -> None:
        """Takes back what `get_state` returned."""
        self.injected = list(state["injected"])

    def _due(self, batch: int) -> bool:
        return bool(self._pending) and self._pending[0][1] <= batch

    def _insert(self, number: int, place: int) -> None:
        model, source = self.model, self.source
        if source is None:
            return
        self._observe("before", place)
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(source(self._epoch, number))
        weighted = sample_weight is not None or self.class_weight is not None
        self._compare(weighted, "an extra batch")
        # Every worker draws the same batch, and attacks and trains on its own part. Those of one
        # program attack the whole batch.
        whole, share = distribution.workers().whole, distribution.own_share
        if not whole:
            x, y, sample_weight = share((x, y, sample_weight))
        if self.attack is not None:
            x = self.attack(model, x, y, seed=[self.schedule.seed, self._epoch, number])
        if whole:
            x, y, sample_weight = share((x, y, sample_weight))
        # `train_on_batch` resets the metrics; those of the epoch are kept.
        variables = list(model.metrics_variables)
        if self.freeze_statistics:
            variables += running_statistics(model)
        kept = [(v, ops.convert_to_numpy(v)) for v in variables]
        self._inserting = True
        logs = model.train_on_batch(
            x, y, sample_weight, class_weight=self.class_weight, return_dict=True
        )
        self._inserting = False
        for variable, value in kept:
            variable.assign(value)
        losses = distribution.workers().gathered(float(logs["loss"]))
        self._report(place, sum(losses) / len(losses))
        self._observe("after", place)

    def _compare(self, weighted: bool, whose: str = "fit") -> None:
        """Refuses weighted samples in `fit` beside unweighted extra ones, and the reverse."""
        self._weighted[whose] = weighted
        own, theirs = self._weighted.get("an extra batch"), self._weighted.get("fit")
        if theirs is None or (own is None and self.class_weight is None):
            return
        if theirs and own is False:
            raise ValueError(
                "PoisonInjection must weight samples as fit does; received weighted batches in fit "
                "and an extra one without; pass fit's class_weight to PoisonInjection too, or let "
                "source return (x, y, sample_weight)."
            )
        if not theirs and self.class_weight is not None:
            raise ValueError(
                f"class_weight must be that of fit; received {self.class_weight} and batches "
                "without weights in fit; pass it to fit too."
            )

    def _observe(self, when: str, place: int) -> None:
        if self.watch is not None:
            getattr(self.watch, when)(self.model, self._epoch, place)

    def _report(self, place: int, loss: float | None) -> None:
        iteration = iterations(self.model.optimizer)
        self.injected.append(
            {"epoch": self._epoch, "place": place, "iteration": iteration, "loss": loss}
        )
        if self.writer is not None:
            self.writer.scalar("poison/injected", len(self.injected), iteration)
            if loss is not None:
                self.writer.scalar("poison/loss", loss, iteration)


def _at_first_batch(
    model: keras.Model, look: Callable[[bool], None], unless: Callable[[], bool]
) -> None:
    """Calls `look(weighted)` before the next step of `fit`: whether its samples have weights.

    Steps while `unless()` is true do not count.

    Callbacks see no data. Keras calls `model.train_function` for each step; its last argument holds
    the batches: a list, a generator, or an iterator of TensorFlow with an `element_spec`.
    """
    function = model.train_function
    if function is None:
        return

    def looked_at(*arguments: Any) -> Any:
        if unless():
            return function(*arguments)
        model.train_function = function
        *others, batches = arguments
        if hasattr(batches, "element_spec"):
            first = batches.element_spec
        else:
            given = iter(batches)
            first = next(given)
            batches = batches if isinstance(batches, list) else itertools.chain([first], given)
        look(keras.utils.unpack_x_y_sample_weight(first)[2] is not None)
        return function(*others, batches)

    model.train_function = looked_at
