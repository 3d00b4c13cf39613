"""The callback that brings poisoned batches into `fit`."""

import keras
from keras import ops


class PoisonInjection(keras.callbacks.Callback):
    """Inserts extra training batches during `fit`, on any model and backend.

    Each extra batch is one ordinary training step, bit-equal to the batch standing in the data at
    that place; the epoch's metrics do not see it. The optimizer's iterations do: a schedule that
    counts iterations counts these. With `steps_per_execution > 1` a batch goes in before the
    execution that holds its place.

    Args:
        schedule: a `keras_dep.PoisonSchedule`.
        source: function `(epoch, number) -> (x, y)` that gives the batch, for example a
            `keras_dep.hetero.PoisonSource`; `None` when the data set itself holds the poisoned
            batches in place of ordinary ones, and this callback only reports them.
        attack: attack that perturbs the extra batch under the weights of the moment, or `None` to
            insert it as it is.
        watch: a `keras_dep.callbacks.CollapseWatch` to ask before and after each poisoned batch.
        writer: a `keras_dep.summaries.EventWriter`, or `None`.

    Attributes:
        injected: list of dictionaries `epoch`, `place`, `iteration`, `loss` (`None` for a replaced
            batch), in order.

    Source: arXiv 2505.11134, Section 3.

    Example:

    >>> import numpy as np
    >>> from keras_dep.poison import PoisonSchedule
    >>> extra = lambda epoch, number: (np.ones((2, 3), "float32"), np.ones((2, 1), "float32"))
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> poison = PoisonInjection(PoisonSchedule(count=2), extra)
    >>> _ = model.fit(np.zeros((8, 3)), np.zeros((8, 1)), batch_size=2, verbose=0,
    ...               callbacks=[poison])
    >>> len(poison.injected), int(model.optimizer.iterations)
    (2, 6)
    """

    def __init__(self, schedule, source=None, attack=None, watch=None, writer=None):
        super().__init__()
        self.schedule = schedule
        self.source = source
        self.attack = attack
        self.watch = watch
        self.writer = writer
        self.injected = []
        self._epoch = 0
        self._pending = []

    def on_epoch_begin(self, epoch, logs=None):
        steps = self.params["steps"]
        if steps is None and self.schedule.poisons(epoch):
            raise ValueError(
                "PoisonInjection needs to know the steps of an epoch; received data of unknown "
                "length; pass steps_per_epoch to fit."
            )
        places = self.schedule.batches if self.source is None else self.schedule.gaps
        self._epoch = epoch
        self._pending = list(enumerate(places(epoch, steps or 0)))

    def on_train_batch_begin(self, batch, logs=None):
        if self.source is None:
            if self._due(batch):
                self._observe("before", self._pending[0][1])
            return
        while self._due(batch):
            self._insert(*self._pending.pop(0))

    def on_train_batch_end(self, batch, logs=None):
        if self.source is None:
            while self._due(batch):
                _, place = self._pending.pop(0)
                self._report(place, None)
                self._observe("after", place)
        elif self._pending and batch == self.params["steps"] - 1:
            while self._pending:
                self._insert(*self._pending.pop(0))

    def get_state(self):
        return {"injected": self.injected}

    def set_state(self, state):
        self.injected = list(state["injected"])

    def _due(self, batch):
        return bool(self._pending) and self._pending[0][1] <= batch

    def _insert(self, number, place):
        model = self.model
        self._observe("before", place)
        x, y = self.source(self._epoch, number)
        if self.attack is not None:
            x = self.attack(model, x, y, seed=[self.schedule.seed, self._epoch, number])
        # train_on_batch starts the metrics anew; the epoch's own must go on.
        kept = [(v, ops.convert_to_numpy(v)) for v in model.metrics_variables]
        logs = model.train_on_batch(x, y, return_dict=True)
        for variable, value in kept:
            variable.assign(value)
        self._report(place, float(logs["loss"]))
        self._observe("after", place)

    def _observe(self, when, place):
        if self.watch is not None:
            getattr(self.watch, when)(self.model, self._epoch, place)

    def _report(self, place, loss):
        iteration = int(self.model.optimizer.iterations)
        self.injected.append(
            {"epoch": self._epoch, "place": place, "iteration": iteration, "loss": loss}
        )
        if self.writer is not None:
            self.writer.scalar("poison/injected", len(self.injected), iteration)
            if loss is not None:
                self.writer.scalar("poison/loss", loss, iteration)
