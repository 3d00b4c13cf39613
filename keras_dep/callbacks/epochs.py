"""The callback that keeps a network's weights of every epoch, for what is measured later."""

import os
import re

import keras

from keras_dep._internal import model_files

_NAME = re.compile(r"(\d+)\.weights\.h5")


class EpochWeights(keras.callbacks.Callback):
    """Keeps a network's weights ahead of training and behind every epoch, one file each.

    Each file is whole or absent and has its checksum beside it, see
    `keras_dep._internal.model_files`. A resumed run goes on with them. List it before
    `ResumeState`, so that an epoch that counts as done has its file.

    Args:
        folder: where; created. `kept` finds the files.
        network: the model whose weights they are, where it is not the one in `fit`.

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

    def __init__(self, folder, network=None):
        super().__init__()
        self.folder = os.fspath(folder)
        self.network = network

    def on_train_begin(self, logs=None):
        os.makedirs(self.folder, exist_ok=True)
        if not int(self.model.optimizer.iterations):
            self._keep(0)

    def on_epoch_end(self, epoch, logs=None):
        self._keep(epoch + 1)

    def _keep(self, epochs_completed):
        # Reading it brings weights back that a JAX epoch keeps to itself.
        model = self.model
        path = os.path.join(self.folder, f"{epochs_completed}.weights.h5")
        model_files.save_weights(self.network or model, path)


def kept(folder):
    """The files that `EpochWeights` left in a folder, by epochs completed, the first one first."""
    names = os.listdir(folder) if os.path.isdir(folder) else []
    found = {int(match[1]): match[0] for match in map(_NAME.fullmatch, names) if match}
    return {epoch: os.path.join(folder, found[epoch]) for epoch in sorted(found)}
