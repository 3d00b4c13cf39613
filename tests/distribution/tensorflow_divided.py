"""Attacks, answers and curvature on two logical devices of one processor, against one device."""

import sys

import keras
import numpy as np

from keras_dep import attacks
from keras_dep import curvature
from keras_dep import distribution
from keras_dep import losses
from keras_dep import models
from keras_dep.models import inference

BATCH = 6


@keras.saving.register_keras_serializable("tests")
class Noted(keras.layers.Layer):
    """Notes the sizes of the batches that it is called with."""

    sizes: set[int] = set()

    def call(self, inputs):
        self.sizes.add(inputs.shape[0])
        return inputs


class Noise(keras.layers.GaussianNoise):
    """Draws in inference mode too."""

    def call(self, inputs, training=False):
        return super().call(inputs, training=True)


def network(*layers):
    inputs = keras.Input((8, 8, 1))
    spiking = models.build("vgg5", (8, 8, 1), 10, timesteps=2)
    return keras.Model(inputs, spiking(keras.Sequential(list(layers))(inputs)))


def figures(model, x, y):
    """Functions to what the devices share, and to the product that they do not, by name."""
    mean = curvature.Hessian(model, losses.MeanLogitCrossentropy())
    vector = np.linspace(-1, 1, mean.dimension).astype("float32")
    total = losses.MeanLogitCrossentropy(reduction="sum")
    return {
        "logits": lambda: inference.logits(model, x),
        "pgd": lambda: attacks.PGD(epsilon=0.1, steps=3)(model, x, y),
        "assg": lambda: attacks.PGD(epsilon=0.1, steps=3, estimator=attacks.ASSG())(model, x, y),
        "gradient": lambda: mean.gradient(x, y),
        "hessian": lambda: mean.at(x, y)(vector),
        "gauss_newton": lambda: curvature.GaussNewton(model, "mse").at(x, one_hot(y))(vector),
        "summed": lambda: curvature.Hessian(model, total).at(x, y)(vector),
    }


def one_hot(y):
    return np.tile(np.eye(10, dtype="float32")[y][:, None], (1, 2, 1))


def main(path):
    joined = distribution.start("mirrored", devices=2)
    draw = np.random.default_rng(0)
    x, y = draw.random((BATCH, 8, 8, 1), "float32"), draw.integers(0, 10, BATCH)
    keras.utils.set_random_seed(0)
    alone = network(Noted())
    weights = [w * 3 if w.ndim > 1 else w + 0.2 for w in alone.get_weights()]
    alone.set_weights(weights)
    with joined.scope():
        shared, noisy = network(Noted()), network(Noted(), Noise(0.1))
    shared.set_weights(weights)
    found, sizes = {}, {}
    for name, model in (("alone", alone), ("shared", shared)):
        for figure, value in figures(model, x, y).items():
            Noted.sizes.clear()
            found[f"{name}_{figure}"] = keras.ops.convert_to_numpy(value())
            sizes[f"{name}_{figure}"] = sorted(Noted.sizes - {None})
    for name, model, images in (("odd", shared, x[:5]), ("noisy", noisy, x)):
        Noted.sizes.clear()
        found[f"{name}_logits"] = inference.logits(model, images)
        sizes[f"{name}_logits"] = sorted(Noted.sizes - {None})
    with joined.scope():
        for name, model in (("alone", alone), ("shared", shared)):
            values = figures(model, x, y)
            for figure in ("logits", "gradient"):
                within = keras.ops.convert_to_numpy(values[figure]())
                found[f"{name}_{figure}_in_scope"] = within
    np.savez(path, **found, **{f"sizes_{name}": value for name, value in sizes.items()})


if __name__ == "__main__":
    main(*sys.argv[1:])
