"""The callback that follows what the neurons do during training."""

import dataclasses

import keras

from keras_dep.profiling.activity import EDGES
from keras_dep.profiling.activity import Activity
from keras_dep.profiling.activity import ActivityProbe
from keras_dep.profiling.activity import LayerActivity


class ActivityLog(keras.callbacks.Callback):
    """Logs spike rates, silent neurons, membranes and energy on a fixed batch at each epoch's end.

    The progress bar and `History` receive `spike_rate`, `dead_neurons` and `energy_ratio`, the last
    against one pass of a network of this shape without spikes. TensorBoard receives the tags
    `activity/<name>` for `spike_rate`, `dead`, `saturated`, `accumulates`, `multiplications`,
    `energy` (picojoules per sample) and `energy_ratio`; per layer `activity_rate/<layer>`,
    `activity_dead/<layer>`, `activity_saturated/<layer>`, `activity_near_threshold/<layer>` and
    `activity_accumulates/<layer>`; and `membrane/<layer>/<bound>`, the share of potentials less
    than that many surrogate widths above the threshold. The x axis is the optimizer's iteration.

    Args:
        x: inputs of the batch.
        writer: a `keras_dep.summaries.EventWriter`, or `None`.
        network: the model to measure where it is not the one in `fit`.

    Attributes:
        history: list of `keras_dep.profiling.activity.Activity`, one per epoch.

    Example:

    >>> log = ActivityLog(keras.ops.ones((2, 8, 8, 1)))
    >>> log.history
    []
    """

    def __init__(self, x, writer=None, network=None):
        super().__init__()
        self.x = x
        self.writer = writer
        self.network = network
        self.history = []
        self._probe = None

    def on_epoch_end(self, epoch, logs=None):
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
            self._write(activity, int(self.model.optimizer.iterations))

    def get_state(self):
        return {"history": [dataclasses.asdict(activity)["layers"] for activity in self.history]}

    def set_state(self, state):
        self.history = [_restored(layers) for layers in state["history"]]

    def _write(self, activity, step):
        totals = ("spike_rate", "dead", "saturated", "accumulates", "multiplications", "energy")
        for name in (*totals, "energy_ratio"):
            self._scalar(f"activity/{name}", getattr(activity, name), step)
        for layer in activity.layers:
            for name in ("rate", "dead", "saturated", "near_threshold", "accumulates"):
                self._scalar(f"activity_{name}/{layer.name}", getattr(layer, name), step)
            for place, bound in enumerate(EDGES if layer.neurons else (), start=1):
                share = sum(layer.membrane[:place])
                self._scalar(f"membrane/{layer.name}/{bound:+g}", share, step)

    def _scalar(self, tag, value, step):
        if value is not None:
            self.writer.scalar(tag, value, step)


def _restored(layers):
    """`Activity` of what JSON has left of it."""
    membranes = [layer["membrane"] and tuple(layer["membrane"]) for layer in layers]
    return Activity(
        tuple(
            LayerActivity(**{**layer, "membrane": membrane})
            for layer, membrane in zip(layers, membranes)
        )
    )
