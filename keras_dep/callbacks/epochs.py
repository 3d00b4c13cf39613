"""The callback that keeps the weights of every epoch, for measurements after training."""

import os
import re

import keras

from keras_dep import _backend
from keras_dep._internal import model_files
from keras_dep._internal.types import Record
from keras_dep.optimizers.iterations import iterations

_NAME = re.compile(r"(\d+)\.weights\.h5")


class EpochWeights(keras.callbacks.Callback):
    """Saves a network's weights before training and after every epoch, one file each.

    Files are written atomically, each with a checksum beside it. A resumed run adds to them. List
    it before `ResumeState`, so that every epoch in the saved state has its file.

    Args:
        folder: folder of the files, created if needed; `kept` finds them.
        network: the model whose weights are saved; default: the one in `fit`.

    Example:

    >>> import tempfile
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> folder = tempfile.mkdtemp()
    >>> x, y = keras.ops.ones((4, 2)), keras.ops.ones((4, 1))
    >>> _ = model.fit(x, y, epochs=2, verbose=0, callbacks=[EpochWeights(folder)])
    >>> list(kept(folder))
    [0, 1, 2]
    """

    def __init__(self, folder: str | os.PathLike[str], network: keras.Model | None = None) -> None:
        super().__init__()
        self.folder = os.fspath(folder)
        self.network = network

    def on_train_begin(self, logs: Record | None = None) -> None:
        os.makedirs(self.folder, exist_ok=True)
        if not iterations(self.model.optimizer):
            self._keep(0)

    def on_epoch_end(self, epoch: int, logs: Record | None = None) -> None:
        self._keep(epoch + 1)

    def _keep(self, epochs_completed: int) -> None:
        # During a JAX epoch, reading `self.model` brings the weights up to date.
        model = self.model
        path = os.path.join(self.folder, f"{epochs_completed}.weights.h5")
        # The chief saves while the other workers go on.
        with _backend.alone():
            model_files.save_weights(self.network or model, path)


def kept(folder: str | os.PathLike[str]) -> dict[int, str]:
    """Finds the files of `EpochWeights` in a folder.

    Args:
        folder: that of the callback.

    Returns:
        Dict from epochs completed to the path, ascending; empty where there is no such folder.

    Example:

    >>> kept("missing")
    {}
    """
    names = os.listdir(folder) if os.path.isdir(folder) else []
    found = {int(match[1]): match[0] for match in map(_NAME.fullmatch, names) if match}
    return {epoch: os.path.join(os.fspath(folder), found[epoch]) for epoch in sorted(found)}
