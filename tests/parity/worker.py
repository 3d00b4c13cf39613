"""Five DEP steps of a small spiking network on one backend; weights and batches come as NumPy."""

import sys

import keras
import numpy as np

import keras_dep


def network():
    return keras_dep.models.build("vgg5", input_shape=(8, 8, 1), num_classes=10)


def small_spiking_network():
    """Its weights are drawn by NumPy, so every backend has the same."""
    body = [
        keras_dep.DirectEncoding(4),
        keras.layers.Flatten(),
        keras.layers.Dense(12),
        keras_dep.LIF(4, surrogate="arctan"),
        keras.layers.Dense(10),
        keras_dep.UnfoldTime(4),
    ]
    model = keras.Sequential([keras.Input((8, 8, 1)), *body])
    draw = np.random.default_rng(5)
    model.set_weights([draw.normal(0.05, 0.3, w.shape) for w in model.get_weights()])
    return model


def eigenvalues(kind, x, y):
    curvature = kind(small_spiking_network(), keras_dep.MeanLogitCrossentropy())
    return curvature.spectrum(x, y, count=5, tolerance=1e-4, batch_size=12).eigenvalues


def standing(x):
    """Which images of the class that the network sees in them withstand a suite."""
    model = small_spiking_network()
    labels = keras_dep.models.inference.logits(model, x).argmax(axis=1)
    ball = {"epsilon": 0.03}
    suite = {
        "pgd": keras_dep.PGD(steps=5, **ball),
        "apgd": keras_dep.attacks.APGD(steps=5, **ball),
        "square": keras_dep.attacks.Square(queries=10, **ball),
    }
    found = keras_dep.evaluate(model, x, labels, suite, batch_size=len(x), verbose=0)
    return [by is None for by in found["broken_by"]]


def main(source, target, saved):
    given = np.load(source)
    model = network()
    model.set_weights([given[f"weight_{i}"] for i in range(len(model.get_weights()))])
    inner = keras_dep.CoupledWeightDecay(keras.optimizers.SGD(0.1, momentum=0.9), 5e-4)
    model.compile(keras_dep.DEP(inner), loss=keras_dep.MeanLogitCrossentropy())
    losses = [model.train_on_batch(given["x"], given["y"]) for _ in range(5)]
    weights = {f"weight_{i}": value for i, value in enumerate(model.get_weights())}
    model.save(saved)
    logits = keras_dep.models.inference.logits(model, given["x"])
    curvature = {
        kind.__name__: eigenvalues(kind, given["x"], given["y"])
        for kind in (keras_dep.Hessian, keras_dep.GaussNewton)
    }
    np.savez(
        target, losses=losses, logits=logits, standing=standing(given["x"]), **weights, **curvature
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
