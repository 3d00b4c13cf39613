"""A small training run to interrupt, damage and resume."""

import re

import keras
import numpy as np
import pytest
from keras import ops

from keras_dep import optimizers
from keras_dep.callbacks.resume import ResumeState

BATCHES, BATCH_SIZE, FEATURES, CLASSES = 3, 8, 6, 3
OPTIMIZERS = {
    "momentum": lambda: keras.optimizers.SGD(0.05, momentum=0.9),
    "adam": lambda: keras.optimizers.Adam(0.01),
    "average": lambda: keras.optimizers.Adam(0.01, use_ema=True),
    "accumulated": lambda: keras.optimizers.SGD(0.05, gradient_accumulation_steps=3),
    "loss scale": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.05)),
    "dep": lambda: optimizers.DEP(keras.optimizers.SGD(0.05, momentum=0.9)),
}


def build(seed=0, optimizer="momentum", width=4, dtype="float32", eager=True):
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((FEATURES,)),
            layers.Dense(width, dtype=dtype),
            layers.BatchNormalization(dtype=dtype),
            layers.Activation("relu", dtype=dtype),
            layers.Dropout(0.5, seed=seed, dtype=dtype),
            layers.Dense(CLASSES, dtype=dtype),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # Eager steps spare a compilation per test; the comparison with an unbroken run is compiled.
    model.compile(OPTIMIZERS[optimizer](), loss, metrics=["accuracy"], run_eagerly=eager)
    return model


def read(name):
    with open(name, "rb") as file:
        return file.read()


def write(name, content):
    with open(name, "wb") as file:
        file.write(content)


def scramble(model, seed=0):
    """Gives every variable of a model and its optimizer a value of its own."""
    generator = np.random.default_rng(seed)
    model.optimizer.build(model.trainable_variables)
    for variable in [*model.variables, *model.optimizer.variables]:
        variable.assign(ops.cast(generator.integers(0, 100, variable.shape), variable.dtype) / 1)


def save(path, model=None, epochs=1, **options):
    """Saves the model after each of some epochs without training it."""
    model = model or build()
    state = ResumeState(path, **options)
    state.set_model(model)
    state.on_train_begin()
    for epoch in range(epochs):
        scramble(model, epoch)
        state.on_epoch_end(epoch, {"loss": 1 / (epoch + 1)})
    return model


def train(model, epochs, callbacks=(), first_epoch=0):
    generator = np.random.default_rng(1)
    count = BATCHES * BATCH_SIZE
    x = generator.normal(size=(count, FEATURES)).astype("float32")
    y = generator.integers(0, CLASSES, count).astype("int32")
    return model.fit(
        x,
        y,
        BATCH_SIZE,
        epochs,
        verbose=0,
        shuffle=False,
        callbacks=list(callbacks),
        initial_epoch=first_epoch,
    )


def bits(model):
    variables = [*model.variables, *model.optimizer.variables]
    arrays = [ops.convert_to_numpy(variable.value) for variable in variables]
    return [(array.shape, array.dtype.name, array.tobytes()) for array in arrays]


class Count(keras.callbacks.Callback):
    """A counter that starts anew with every `fit`, as those of Keras do."""

    def __init__(self, batches=0):
        super().__init__()
        self.batches = batches

    def on_train_begin(self, logs=None):
        self.batches = 0

    def on_train_batch_end(self, batch, logs=None):
        self.batches += 1

    def get_state(self):
        return {"batches": self.batches}

    def set_state(self, state):
        self.batches = state["batches"]


def refused(call, *patterns):
    with pytest.raises(ValueError) as raised:
        call()
    assert "\n" not in str(raised.value)
    for pattern in patterns:
        assert re.search(pattern, str(raised.value)), str(raised.value)
