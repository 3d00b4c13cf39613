"""The callback that logs spike rates, silent neurons and energy during training."""

import dataclasses

import keras

from keras_dep._internal.types import Array
from keras_dep._internal.types import Record
from keras_dep.optimizers.iterations import iterations
from keras_dep.profiling.activity import EDGES
from keras_dep.profiling.activity import Activity
from keras_dep.profiling.activity import ActivityProbe
from keras_dep.profiling.activity import LayerActivity
from keras_dep.summaries import EventWriter


class ActivityLog(keras.callbacks.Callback):
    """Logs spike rates, silent neurons, membranes and energy on a fixed batch after each epoch.

    Adds `spike_rate`, `dead_neurons` and `energy_ratio` to the logs of the epoch; the last is the
    energy divided by that of one pass of a network of this shape without spikes. Writes the tags
    `activity/<name>` for `spike_rate`, `dead`, `saturated`, `accumulates`, `multiplications`,
    `energy` (picojoules per sample) and `energy_ratio`; per layer `activity_rate/<layer>`,
    `activity_dead/<layer>`, `activity_saturated/<layer>`, `activity_near_threshold/<layer>` and
    `activity_accumulates/<layer>`; and `membrane/<layer>/<bound>`, the share of potentials less
    than that many surrogate widths above the threshold. Steps are the optimizer's iterations.

    Args:
        x: inputs of the batch, array or tensor `(n, ...)`.
        writer: the `keras_dep.summaries.EventWriter` to write to; `None` writes nothing.
        network: the model to measure; default: the one in `fit`.

    Attributes:
        history: list of `keras_dep.profiling.activity.Activity`, one per epoch.

    Example:

    >>> log = ActivityLog(keras.ops.ones((2, 8, 8, 1)))
    >>> log.history
    []
    """

    def __init__(
        self,
        x: Array,
        writer: EventWriter | None = None,
        network: keras.Model | None = None,
    ) -> None:
        super().__init__()
        self.x = x
        self.writer = writer
        self.network = network
        self.history: list[Activity] = []
        self._probe: ActivityProbe | None = None

    def on_epoch_end(self, epoch: int, logs: Record | None = None) -> None:
        network = self.network or self.model
        if self._probe is None or self._probe.model is not network:
            self._probe = ActivityProbe(network)
        activity = self._probe(self.x)
        self.history.append(activity)
        if logs is not None:
            logs["energy_ratio"] = activity.energy_ratio
            if activity.spike_rate is not None:
                logs["spike_rate"] = activity.spike_rate
                logs["dead_neurons"] = activity.dead
        if self.writer is not None:
            self._write(activity, iterations(self.model.optimizer))

    def get_state(self) -> Record:
        """Returns what `ResumeState` saves, as JSON can hold it."""
        return {"history": [dataclasses.asdict(activity)["layers"] for activity in self.history]}

    def set_state(self, state: Record) -> None:
        """Takes back what `get_state` returned."""
        self.history = [_restored(layers) for layers in state["history"]]

    def _write(self, activity: Activity, step: int) -> None:
        totals = ("spike_rate", "dead", "saturated", "accumulates", "multiplications", "energy")
        for name in (*totals, "energy_ratio"):
            self._scalar(f"activity/{name}", getattr(activity, name), step)
        for layer in activity.layers:
            for name in ("rate", "dead", "saturated", "near_threshold", "accumulates"):
                self._scalar(f"activity_{name}/{layer.name}", getattr(layer, name), step)
            for place, bound in enumerate(EDGES if layer.membrane else (), start=1):
                share = sum((layer.membrane or ())[:place])
                self._scalar(f"membrane/{layer.name}/{bound:+g}", share, step)

    def _scalar(self, tag: str, value: float | None, step: int) -> None:
        if self.writer is not None and value is not None:
            self.writer.scalar(tag, value, step)


def _restored(layers: list[Record]) -> Activity:
    """Rebuilds an `Activity` from JSON, where tuples are lists."""
    membranes = [layer["membrane"] and tuple(layer["membrane"]) for layer in layers]
    return Activity(
        tuple(
            LayerActivity(**{**layer, "membrane": membrane})
            for layer, membrane in zip(layers, membranes)
        )
    )
