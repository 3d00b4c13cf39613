"""One attempt at a training run, which may kill its process at a given moment."""

import os
import signal

import keras
import numpy as np

from keras_dep.callbacks import resume
from keras_dep.data.loader import Batches

EPOCHS, BATCHES, BATCH_SIZE = 4, 6, 8


class AtBatch(keras.callbacks.Callback):
    """Calls `action` at the end of one batch of one epoch."""

    def __init__(self, epoch, batch, action):
        super().__init__()
        self.place = epoch, batch
        self.action = action

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.place:
            self.action()


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def kill_in_call(name, number, after):
    """Kills the process in a given call of `os.<name>`, before or after its effect."""
    function, calls = getattr(os, name), []

    def killing(*args):
        calls.append(args)
        due = len(calls) == number
        if due and not after:
            kill()
        result = function(*args)
        if due:
            kill()
        return result

    setattr(os, name, killing)


def build(seed):
    initializer = keras.initializers.GlorotUniform(seed)
    model = keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(8, kernel_initializer=initializer),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.3, seed=seed),
            keras.layers.Dense(3, kernel_initializer=initializer.clone()),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), loss)
    return model


def attempt(folder, seed, death, reports):
    """Resumes from the last state; reports the first epoch, and at the end all bits and losses.

    Args:
        folder: the folder of the state.
        seed: seed of the fresh model; it must not matter if there is a state.
        death: `None`, `("batch", epoch, batch)` or `(function of os, number of the call, after)`.
        reports: connection for the two reports.
    """
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (BATCHES * BATCH_SIZE, 4, 4, 1)).astype("uint8")
    labels = generator.integers(0, 3, len(images)).astype("int32")
    data, model = Batches(images, labels, BATCH_SIZE, augment="standard"), build(seed)
    state = resume.ResumeState(os.path.join(folder, "state"), data=data)
    first_epoch = state.restore(model)
    reports.send(first_epoch)
    dying = []
    if death is not None and death[0] == "batch":
        dying = [AtBatch(*death[1:], kill)]
    elif death is not None:
        kill_in_call(*death)
    model.fit(
        data,
        epochs=EPOCHS,
        initial_epoch=first_epoch,
        callbacks=[*dying, state],
        shuffle=False,
        verbose=0,
    )
    variables = [*model.variables, *model.optimizer.variables]
    contents = [keras.ops.convert_to_numpy(variable.value).tobytes() for variable in variables]
    reports.send((contents, state.history["loss"]))
