"""
Title: DEP on a small ResNet
Author: the keras_dep authors
Date created: 2026/11/28
Description: Wrap a Keras optimizer in DEP and train a residual network without spikes.
Accelerator: None
"""

"""
## Introduction

Dominant Eigencomponent Projection (DEP) removes the leading singular component of every weight
gradient before the optimizer sees it. `keras_dep.DEP` wraps any Keras optimizer and works on any
Keras model. This example trains one residual network twice, with SGD and with DEP around SGD, from
the same weights on the same batches.

Run it with any backend: `KERAS_BACKEND=jax python examples/dep_on_a_resnet.py`. Set
`KERAS_DEP_EXAMPLE_SMALL=1` for a run of a few seconds.
"""

import os

import keras
import numpy as np
from keras import layers

import keras_dep

SMALL = os.environ.get("KERAS_DEP_EXAMPLE_SMALL") == "1"
EPOCHS = 1 if SMALL else 10
EXAMPLES = 128 if SMALL else 1500
FILTERS = (4,) if SMALL else (16, 32, 64)

keras.utils.set_random_seed(0)

"""
## Data

The digits are 8 x 8 grey images that come with the package.
"""

data = keras_dep.data.load("digits", train_examples=EXAMPLES)
x_train, y_train = data.x_train / np.float32(255), data.y_train
x_test, y_test = data.x_test / np.float32(255), data.y_test

"""
## Model

Each residual block has two convolutions and a shortcut.
"""


def block(x, filters, strides):
    shortcut = layers.Conv2D(filters, 1, strides=strides, use_bias=False)(x)
    x = layers.Conv2D(filters, 3, strides=strides, padding="same", use_bias=False)(x)
    x = layers.Activation("relu")(layers.BatchNormalization()(x))
    x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
    return layers.Activation("relu")(layers.Add()([layers.BatchNormalization()(x), shortcut]))


def resnet():
    inputs = keras.Input(data.image_shape)
    x = layers.Conv2D(FILTERS[0], 3, padding="same", use_bias=False)(inputs)
    for index, filters in enumerate(FILTERS):
        x = block(x, filters, strides=1 if index == 0 else 2)
    outputs = layers.Dense(data.num_classes)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, outputs)


"""
## Training with and without DEP

DEP has no hyperparameter. It leaves biases, normalisation and kernels with a side of 1 or 2 alone;
`exclude=` takes more. `projected_paths` lists the weights that it projects, and `removed_energy`
holds the share of each squared gradient norm that the last step removed.
"""


def train(optimizer, weights):
    model = resnet()
    model.set_weights(weights)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"])
    batches = keras_dep.data.Batches(x_train, y_train, batch_size=64, seed=0)
    model.fit(batches, epochs=EPOCHS, shuffle=False, verbose=0)
    _, accuracy = model.evaluate(x_test, y_test, verbose=0)
    return model, accuracy


weights = resnet().get_weights()
_, sgd_accuracy = train(keras.optimizers.SGD(0.05, momentum=0.9), weights)
dep_model, dep_accuracy = train(keras_dep.DEP(keras.optimizers.SGD(0.05, momentum=0.9)), weights)
print(f"test accuracy with SGD: {sgd_accuracy:.2%}")
print(f"test accuracy with DEP: {dep_accuracy:.2%}")

"""
## What DEP removed

The share differs between layers: a gradient that is nearly of rank one loses most of its energy.
"""

dep = dep_model.optimizer
removed = keras.ops.convert_to_numpy(dep.removed_energy)
for path, share in zip(dep.projected_paths, removed):
    print(f"{path:<28}{share:>8.1%} of the gradient's energy")

"""
One run with one seed shows how to use DEP. It does not show which optimizer is better.
"""
