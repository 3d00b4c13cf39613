"""`fit` under DataParallel on two devices that XLA makes of one processor."""

import sys

import jax
import keras
import numpy as np

from tests.support import replicas


def main(source, folder):
    given = np.load(source)
    devices = keras.distribution.list_devices()
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices))
    model = replicas.network(given)
    model.compile(replicas.optimizer(), replicas.loss())
    parts = watch_parts(model)
    model.fit(given["x"], given["y"], replicas.BATCH, shuffle=False, verbose=0)
    if set(parts) != {replicas.BATCH // replicas.REPLICAS}:
        raise RuntimeError(f"the devices had parts of {parts} images, not half a batch each")
    copies = [[s.data for s in v.value.addressable_shards] for v in model.trainable_variables]
    for replica, weights in enumerate(zip(*copies)):
        replicas.save(f"{folder}/reduced_{replica}.npz", weights, model.optimizer)


def watch_parts(model):
    """List that will hold how many images of a batch each device sees."""
    train_step, parts = model.train_step, []

    def watched(state, data):
        x = data[0]
        jax.debug.inspect_array_sharding(
            x, callback=lambda sharding: parts.append(sharding.shard_shape(x.shape)[0])
        )
        return train_step(state, data)

    model.train_step = watched
    return parts


if __name__ == "__main__":
    main(*sys.argv[1:])
