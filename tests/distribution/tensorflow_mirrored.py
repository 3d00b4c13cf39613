"""`fit` under MirroredStrategy on two logical devices of one processor."""

import sys

import keras
import numpy as np
import tensorflow as tf

processor = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)

import keras_dep  # noqa: E402
from tests.support import replicas  # noqa: E402


def main(source, folder):
    given = np.load(source)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    for name, projection in (("reduced", keras_dep.DEP), ("apart", replicas.Apart)):
        with strategy.scope():
            model = replicas.network(given)
            model.compile(replicas.optimizer(projection), replicas.loss())
        model.fit(given["x"], given["y"], replicas.BATCH, shuffle=False, verbose=0)
        copies = [strategy.experimental_local_results(v.value) for v in model.trainable_variables]
        for replica, weights in enumerate(zip(*copies)):
            replicas.save(f"{folder}/{name}_{replica}.npz", weights, model.optimizer)
    refuse_accumulation(strategy, given)


def refuse_accumulation(strategy, given):
    with strategy.scope():
        model = replicas.network(given)
        sgd = keras.optimizers.SGD(0.1)
        model.compile(keras_dep.DEP(sgd, gradient_accumulation_steps=2), replicas.loss())
    try:
        model.fit(given["x"], given["y"], replicas.BATCH, verbose=0)
    except ValueError as error:
        if "must be None under tf.distribute; received it under Mirrored" in str(error):
            return
        raise
    raise RuntimeError("accumulation under MirroredStrategy was not refused")


if __name__ == "__main__":
    main(*sys.argv[1:])
