"""
Title: The Hessian's spectrum along training
Author: the keras_dep authors
Date created: 2026/11/28
Description: Follow the leading Hessian eigenvalues of a spiking network, with error bounds.
Accelerator: None
"""

"""
## Introduction

The paper behind DEP argues with the spectral radius of the Hessian. This example measures the
leading eigenvalues after every epoch, and compares what DEP removes from the gradient with the
sharpest direction. The Hessian of a spiking network is that of its surrogate program, so every
figure names the surrogate.

Run it with any backend: `KERAS_BACKEND=jax python examples/spectrum_along_training.py`. Set
`KERAS_DEP_EXAMPLE_SMALL=1` for a run of a few seconds.
"""

import os

import keras
import numpy as np
from keras import layers

import keras_dep

SMALL = os.environ.get("KERAS_DEP_EXAMPLE_SMALL") == "1"
EPOCHS = 1 if SMALL else 6
EXAMPLES = 128 if SMALL else 1500
IMAGES = 8 if SMALL else 64
COUNT = 2 if SMALL else 5
UNITS = 8 if SMALL else 64
TIMESTEPS = 2 if SMALL else 4

keras.utils.set_random_seed(0)

"""
## Data and model

Without normalisation the loss of training and inference is the same function of the weights.
"""

data = keras_dep.data.load("digits", train_examples=EXAMPLES)
x_train, y_train = data.x_train / np.float32(255), data.y_train

model = keras.Sequential(
    [
        keras.Input(data.image_shape),
        layers.Flatten(),
        layers.Rescaling(2.0),
        layers.Dense(UNITS),
        keras_dep.DirectEncoding(TIMESTEPS),
        keras_dep.LIF(TIMESTEPS, tau=2.0),
        layers.Dense(UNITS),
        keras_dep.LIF(TIMESTEPS, tau=2.0),
        layers.Dense(data.num_classes),
        keras_dep.UnfoldTime(TIMESTEPS),
    ]
)
loss = keras_dep.MeanLogitCrossentropy()
model.compile(keras_dep.DEP(keras.optimizers.SGD(0.1)), loss)

"""
## Eigenvalues after each epoch

`HessianSpectrum` runs Lanczos on Hessian-vector products. Each eigenvalue comes with a residual:
some true eigenvalue lies within it. `align=True` adds the comparison with DEP's projection.
"""

spectrum = keras_dep.callbacks.HessianSpectrum(
    x_train[:IMAGES], y_train[:IMAGES], count=COUNT, max_steps=10 if SMALL else 60, align=True
)
batches = keras_dep.data.Batches(x_train, y_train, batch_size=64, seed=0)
model.fit(batches, epochs=EPOCHS, shuffle=False, verbose=0, callbacks=[spectrum])
for epoch, found in enumerate(spectrum.history, 1):
    values = ", ".join(f"{value:.3g}" for value in found["eigenvalues"])
    print(f"epoch {epoch}: eigenvalues {values}; surrogate {found['surrogate']}")
    aligned = found["alignment"]
    print(
        f"  curvature along the gradient {aligned['curvature_along_gradient']:.3g}, along DEP's "
        f"step {aligned['curvature_along_step']:.3g}; cosine of removed and sharpest "
        f"{aligned['cosine']:.3f}"
    )

"""
## The whole spectrum

`spectral_density` estimates how all eigenvalues are distributed, from a few random vectors.
"""

hessian = keras_dep.Hessian(model, loss)
product = hessian.at(x_train[:IMAGES], y_train[:IMAGES])
density = keras_dep.curvature.spectral_density(
    product, hessian.dimension, vectors=1, steps=5 if SMALL else 40
)
low, high = density.limits()
print(f"{hessian.dimension} weights; spectrum from {low:.3g} to {high:.3g}")
print(f"mean eigenvalue {density.moment(1):.3g}")

"""
The spectral radius of one run falls or rises for many reasons. To compare optimizers, repeat the
run with several seeds; `apps/hessian.py` does so for pairs of finished runs.
"""
