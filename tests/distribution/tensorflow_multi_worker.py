"""A loop of one's own under MultiWorkerMirroredStrategy; TF_CONFIG says which worker this is."""

import json
import os
import sys

import numpy as np
import tensorflow as tf

# The strategy must come before anything else that TensorFlow does.
strategy = tf.distribute.MultiWorkerMirroredStrategy()

from tests.support import replicas  # noqa: E402


def main(source, folder):
    given = np.load(source)
    rank = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
    with strategy.scope():
        model, optimizer = replicas.network(given), replicas.optimizer()
        optimizer.build(model.trainable_variables)
    train(model, replicas.loss(), optimizer, given)
    replicas.save(f"{folder}/reduced_{rank}.npz", model.get_weights(), optimizer)


def train(model, loss, optimizer, given):
    def replica_step(x, y):
        with tf.GradientTape() as tape:
            # A Keras loss divides by the number of replicas, and the optimizer sums over them.
            value = loss(y, model(x, training=True))
        gradients = tape.gradient(value, model.trainable_weights)
        optimizer.apply(gradients, model.trainable_weights)

    @tf.function
    def step(x, y):
        strategy.run(replica_step, args=(x, y))

    batches = tf.data.Dataset.from_tensor_slices((given["x"], given["y"])).batch(replicas.BATCH)
    for x, y in strategy.experimental_distribute_dataset(batches):
        step(x, y)


if __name__ == "__main__":
    main(*sys.argv[1:])
