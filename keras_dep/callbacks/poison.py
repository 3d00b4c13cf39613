"""The callback that brings poisoned batches into `fit`."""

import itertools

import keras
from keras import ops


class PoisonInjection(keras.callbacks.Callback):
    """Inserts extra training batches during `fit`, on any model and backend.

    Each extra batch is one ordinary training step, bit-equal to the batch standing in the data at
    that place; the epoch's metrics do not see it. The optimizer's iterations do: a schedule that
    counts iterations counts these. With `steps_per_execution > 1` a batch goes in before the
    execution that holds its place.

    No callback is told of `fit(class_weight=...)`: give the same here. Samples that `fit` weights
    beside extra ones without weights are refused, at the first such batch at the latest.

    Args:
        schedule: a `keras_dep.PoisonSchedule`.
        source: function `(epoch, number) -> (x, y)` or `(x, y, sample_weight)` that gives the
            batch, for example a `keras_dep.training.adversarial.PoisonSource`; `None` when the data
            set itself holds the poisoned batches in place of ordinary ones, and this callback only
            reports them.
        attack: attack that perturbs the extra batch under the weights of the moment, or `None` to
            insert it as it is.
        watch: a `keras_dep.callbacks.CollapseWatch` to ask before and after each poisoned batch.
        writer: a `keras_dep.summaries.EventWriter`, or `None`.
        class_weight: weights of the classes, those of `fit`, a dictionary; `None` for none.

    Attributes:
        injected: list of dictionaries `epoch`, `place`, `iteration`, `loss` (`None` for a replaced
            batch), in order.

    Raises:
        ValueError: in `fit`, data of unknown length, or weights of samples or classes on one side
            alone.

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
        self, schedule, source=None, attack=None, watch=None, writer=None, class_weight=None
    ):
        super().__init__()
        self.schedule = schedule
        self.source = source
        self.attack = attack
        self.watch = watch
        self.writer = writer
        self.class_weight = class_weight
        self.injected = []
        self._epoch = 0
        self._pending = []
        self._weighted = {}
        self._inserting = False

    def on_train_begin(self, logs=None):
        self._weighted, self._inserting = {}, False
        if self.source is not None:
            _at_first_batch(self.model, self._compare, unless=lambda: self._inserting)

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
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(self.source(self._epoch, number))
        weighted = sample_weight is not None or self.class_weight is not None
        self._compare(weighted, "an extra batch")
        if self.attack is not None:
            x = self.attack(model, x, y, seed=[self.schedule.seed, self._epoch, number])
        # train_on_batch starts the metrics anew; the epoch's own must go on.
        kept = [(v, ops.convert_to_numpy(v)) for v in model.metrics_variables]
        self._inserting = True
        logs = model.train_on_batch(
            x, y, sample_weight, class_weight=self.class_weight, return_dict=True
        )
        self._inserting = False
        for variable, value in kept:
            variable.assign(value)
        self._report(place, float(logs["loss"]))
        self._observe("after", place)

    def _compare(self, weighted, whose="fit"):
        """Notes whether samples have weights, and refuses a step that the data would not take."""
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


def _at_first_batch(model, look, unless):
    """Calls `look(weighted)` ahead of the next step of `fit`: whether its samples have weights.

    A step while `unless()` holds is none of `fit`.

    Callbacks see no data. What Keras calls for each step is an attribute of the model, whose last
    argument are the batches: a list, a generator, or an iterator of TensorFlow that says what it
    holds.
    """
    function = model.train_function
    if function is None:
        return

    def looked_at(*arguments):
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
