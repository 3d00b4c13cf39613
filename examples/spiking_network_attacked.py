"""
Title: A spiking network, trained and attacked
Author: the keras_dep authors
Date created: 2026/11/28
Description: Train a spiking network with DEP through poisoned batches, then attack it.
Accelerator: None
"""

"""
## Introduction

A network that survives one attack need not be robust: a spike has no derivative, and an attack is
only as good as the surrogate that it looks through. This example trains a small spiking network on
clean images, inserts one adversarial batch in every epoch, watches whether the network collapses,
and measures its accuracy under attacks that look through several surrogates.

Run it with any backend: `KERAS_BACKEND=jax python examples/spiking_network_attacked.py`. Set
`KERAS_DEP_EXAMPLE_SMALL=1` for a run of a few seconds.
"""

import os

import keras
import numpy as np
from keras import layers

import keras_dep
from keras_dep import attacks

SMALL = os.environ.get("KERAS_DEP_EXAMPLE_SMALL") == "1"
EPOCHS = 1 if SMALL else 8
EXAMPLES = 128 if SMALL else 1500
ATTACKED = 16 if SMALL else 297
FILTERS = 4 if SMALL else 32
TIMESTEPS = 2 if SMALL else 4
BATCH_SIZE = 64

keras.utils.set_random_seed(0)

"""
## Data and model

Time is folded into the batch: `DirectEncoding` repeats the image at every step, `LIF` integrates
over the steps, and `UnfoldTime` gives the logits as `(batch, T, classes)`. `keras_dep.models.build`
has whole networks; this one shows the layers.
"""

data = keras_dep.data.load("digits", train_examples=EXAMPLES)
x_test, y_test = data.x_test[:ATTACKED] / np.float32(255), data.y_test[:ATTACKED]

model = keras.Sequential(
    [
        keras.Input(data.image_shape),
        layers.Rescaling(4.0, offset=-1.0),
        layers.Conv2D(FILTERS, 3, padding="same", use_bias=False),
        layers.BatchNormalization(),
        keras_dep.DirectEncoding(TIMESTEPS),
        keras_dep.LIF(TIMESTEPS, tau=2.0),
        layers.AveragePooling2D(2),
        layers.Conv2D(2 * FILTERS, 3, padding="same", use_bias=False),
        layers.BatchNormalization(),
        keras_dep.LIF(TIMESTEPS, tau=2.0),
        layers.Flatten(),
        layers.Dense(data.num_classes),
        keras_dep.UnfoldTime(TIMESTEPS),
    ]
)
model.compile(
    optimizer=keras_dep.DEP(keras.optimizers.SGD(0.05, momentum=0.9)),
    loss=keras_dep.MeanLogitCrossentropy(),
    metrics=[keras_dep.MeanLogitAccuracy()],
)

"""
## Hetero-training

`PoisonInjection` inserts one batch in every epoch. `FGSM` perturbs it under the weights of that
moment. `CollapseWatch` measures the accuracy before and after it.
"""

batches = keras_dep.data.Batches(data.x_train, data.y_train, BATCH_SIZE, seed=0)
watch = keras_dep.callbacks.CollapseWatch(x_test, y_test)
poison = keras_dep.callbacks.PoisonInjection(
    schedule=keras_dep.PoisonSchedule(count=1),
    source=keras_dep.training.adversarial.PoisonSource(data.x_train, data.y_train, BATCH_SIZE),
    attack=keras_dep.FGSM(epsilon=8 / 255),
    watch=watch,
)
model.fit(batches, epochs=EPOCHS, shuffle=False, verbose=0, callbacks=[watch, poison])
for event in watch.events:
    print(f"epoch {event['epoch']}: {event['before']:.1%} before, {event['after']:.1%} after")
print(f"collapsed: {watch.collapsed}")

"""
## Attacks

`evaluate` takes a named suite or a dictionary of attacks. The worst case counts the images that
withstand all of them. `keras_dep.evaluate(..., suite="reliable")` runs many more.
"""

STEPS = 2 if SMALL else 20
found = keras_dep.evaluate(
    model,
    x_test,
    y_test,
    {
        "FGSM": keras_dep.FGSM(epsilon=0.1),
        "PGD": keras_dep.PGD(epsilon=0.1, step_size=0.02, steps=STEPS),
        "APGD, arctan": attacks.APGD(epsilon=0.1, steps=STEPS, surrogate="arctan"),
        "SA-PGD, ASSG": attacks.SAPGD(epsilon=0.1, steps=STEPS, estimator="assg"),
    },
    verbose=0,
)
clean, worst = found["clean"]["accuracy"], found["worst_case"]["accuracy"]
print(f"clean: {clean:.1%}")
for row in found["attacks"]:
    print(f"{row['attack']}: {row['accuracy']:.1%}")
low, high = found["worst_case"]["interval"]
print(f"worst case: {worst:.1%}, 95 % interval {low:.1%} to {high:.1%}")

"""
The accuracy under one attack is an upper bound. Report the worst case over many attacks, with its
interval, and run `keras_dep.evaluation.checklist` before you call a network robust.
"""
