"""Five DEP steps of a small spiking network on one backend; weights and batches come as NumPy."""

import sys

import keras
import numpy as np

import keras_dep


def network():
    return keras_dep.models.build("vgg5", input_shape=(8, 8, 1), num_classes=10)


def main(source, target, saved):
    given = np.load(source)
    model = network()
    model.set_weights([given[f"weight_{i}"] for i in range(len(model.get_weights()))])
    inner = keras_dep.CoupledWeightDecay(keras.optimizers.SGD(0.1, momentum=0.9), 5e-4)
    model.compile(keras_dep.DEP(inner), loss=keras_dep.MeanLogitCrossentropy())
    losses = [model.train_on_batch(given["x"], given["y"]) for _ in range(5)]
    weights = {f"weight_{i}": value for i, value in enumerate(model.get_weights())}
    model.save(saved)
    logits = keras_dep.inference.logits(model, given["x"])
    np.savez(target, losses=losses, logits=logits, **weights)


if __name__ == "__main__":
    main(*sys.argv[1:])
