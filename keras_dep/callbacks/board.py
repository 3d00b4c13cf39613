"""The callback that logs the metrics of `fit` and what DEP removes."""

import keras
import numpy as np
from keras import ops

from keras_dep._internal.types import Record
from keras_dep.optimizers import DEP
from keras_dep.optimizers.iterations import iterations
from keras_dep.summaries import EventWriter


class BoardLog(keras.callbacks.Callback):
    """Logs metrics, learning rate and what DEP removed after each epoch.

    Writes `train/<metric>` and `validation/<metric>`, or `train/<metric>/<index>` for each value of
    a metric that has several; `train/learning_rate`; and for each projected variable
    `dep/removed_energy/<path>`, the share of the last step's squared gradient norm that the
    projection removed, and `dep/leading_value/<path>`, the singular value of the removed component.
    Steps are the optimizer's iterations.

    Args:
        writer: the `keras_dep.summaries.EventWriter` to write to; may be set later, before `fit`.
            `None` writes nothing.

    Example:

    >>> import tempfile
    >>> from keras_dep.summaries import EventWriter
    >>> log = BoardLog(EventWriter(tempfile.mkdtemp()))
    """

    def __init__(self, writer: EventWriter | None = None) -> None:
        super().__init__()
        self.writer = writer

    def on_epoch_end(self, epoch: int, logs: Record | None = None) -> None:
        if self.writer is None:
            return
        optimizer = self.model.optimizer
        step = iterations(optimizer)
        for name, value in (logs or {}).items():
            tag = f"validation/{name[4:]}" if name.startswith("val_") else f"train/{name}"
            values = ops.convert_to_numpy(value)
            for index, each in np.ndenumerate(values):
                place = "".join(f"/{number}" for number in index)
                self.writer.scalar(f"{tag}{place}", float(each), step)
        if "learning_rate" not in (logs or {}):
            self.writer.scalar("train/learning_rate", float(optimizer.learning_rate), step)
        dep = find_dep(optimizer)
        if dep is not None:
            for name in ("removed_energy", "leading_value"):
                for path, value in zip(
                    dep.projected_paths, ops.convert_to_numpy(getattr(dep, name))
                ):
                    self.writer.scalar(f"dep/{name}/{path}", float(value), step)
        self.writer.flush()


def find_dep(optimizer: keras.optimizers.Optimizer | None) -> DEP | None:
    """Returns the `DEP` among nested optimizer wrappers, or `None`."""
    while optimizer is not None and not isinstance(optimizer, DEP):
        optimizer = getattr(optimizer, "inner_optimizer", None)
    return optimizer
