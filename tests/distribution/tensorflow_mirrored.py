"""`fit` under MirroredStrategy on two logical devices of one processor."""

import sys

import numpy as np
import tensorflow as tf

processor = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)

import keras_dep  # noqa: E402
from tests.distribution import problem  # noqa: E402


def main(source, folder):
    given = np.load(source)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    for name, projection in (("reduced", keras_dep.DEP), ("apart", problem.Apart)):
        with strategy.scope():
            model = problem.network(given)
            model.compile(problem.optimizer(projection), problem.loss())
        model.fit(given["x"], given["y"], problem.BATCH, shuffle=False, verbose=0)
        copies = [strategy.experimental_local_results(v.value) for v in model.trainable_variables]
        for replica, weights in enumerate(zip(*copies)):
            problem.save(f"{folder}/{name}_{replica}.npz", weights, model.optimizer)


if __name__ == "__main__":
    main(*sys.argv[1:])
