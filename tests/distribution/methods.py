"""Methods of training on two replicas with half a batch each, and in one process with all of it.

Each process writes, for each method, how far the weights of the two runs are apart at most, how far
those of the replicas are, and how far training has moved them.
"""

import datetime
import json
import os
import sys

BACKEND = os.environ["KERAS_BACKEND"]
if BACKEND == "tensorflow":
    import tensorflow as tf

    # Ahead of anything else that TensorFlow does.
    processor = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        processor, [tf.config.LogicalDeviceConfiguration()] * 2
    )

import keras  # noqa: E402
import numpy as np  # noqa: E402
from keras import ops  # noqa: E402

from keras_dep import defences  # noqa: E402
from keras_dep import models  # noqa: E402
from keras_dep import profiling  # noqa: E402
from keras_dep.data import sources  # noqa: E402
from keras_dep.experiments import build  # noqa: E402
from keras_dep.experiments.settings import Settings  # noqa: E402
from keras_dep.models.builder import NetworkBuilder  # noqa: E402

STEPS, BATCH, REPLICAS = 3, 8, 2
SETTINGS = Settings(
    batch_size=BATCH,
    timesteps=2,
    # The openings of gates are frozen after the first half of the epochs.
    epochs=4,
    learning_rate=0.05,
    # The neurons are few.
    threshold=0.3,
    poison_count=0,
    jit="off",
)


def main(folder, *methods):
    compare = {
        "torch": data_distributed,
        "tensorflow": mirrored,
        "jax": data_parallel,
    }[BACKEND]
    models.build = network
    found = compare(folder, methods)
    with open(f"{folder}/found_{os.environ.get('RANK', 0)}.json", "w") as file:
        json.dump(found, file)
        file.flush()
    # Without teardown: gloo's has been seen to wait for ever for a process that had left.
    os._exit(0)


def network(name, input_shape, num_classes, **options):
    """Without batch normalisation, whose statistics are those of a replica."""
    builder = NetworkBuilder(**options)
    inputs, x = builder.image(input_shape)
    x = builder.spike(builder.convolve(x, 3))
    x = builder.spike(builder.dense(builder.flatten(x), 4))
    # The usual start near 0 leaves the layers before it little gradient.
    return keras.Model(inputs, builder.logits(x, num_classes, "glorot_uniform"))


def drawn():
    draw = np.random.default_rng(0)
    x = draw.integers(0, 256, (STEPS * BATCH, 4, 4, 1)).astype("uint8")
    y = draw.integers(0, 3, STEPS * BATCH).astype("int32")
    return sources.Dataset("digits", x, y, x, y, 3, (0.5,), (0.3,), tuple("abc"))


def assembled(method, folder):
    data = drawn()
    if "hosnn" in method:
        path = f"{folder}/signature_{os.environ.get('RANK', 0)}.npz"
        keras.utils.set_random_seed(0)
        plain = build.build_network(SETTINGS, data)
        np.savez(path, **profiling.membrane_signature(plain, data.x_train[:4] / np.float32(255)))
        method = method.replace("hosnn", f"hosnn(signature={path!r})")
    chosen = defences.get(method)
    settings = build.settings_of(SETTINGS, chosen)
    keras.utils.set_random_seed(0)
    parts = build.assemble(settings, chosen, data, build.build_batches(settings, data))
    for callback in parts.callbacks:
        callback.set_model(parts.model)
        callback.on_train_begin()
        callback.on_epoch_begin(0)
    return parts


def fitted(method, folder):
    parts, data = assembled(method, folder), drawn()
    # Tracing would take most of the time.
    parts.model.run_eagerly = BACKEND == "tensorflow"
    images = data.x_train / np.float32(255)
    parts.model.fit(images, data.y_train, BATCH, shuffle=False, verbose=0)
    return parts.network


def weights(model):
    """A network's weights, without the states of its random generators."""
    kept = [v for v in model.variables if "seed" not in v.path]
    return [ops.convert_to_numpy(v) for v in kept]


def distance(some, others):
    pairs = zip(some, others, strict=True)
    return max(float(np.abs(np.asarray(one) - np.asarray(other)).max()) for one, other in pairs)


def report(method, folder, whole, parted, copies):
    return {
        "apart": distance(weights(whole), weights(parted)),
        "copies": distance(*copies),
        "moved": distance(weights(whole), weights(assembled(method, folder).network)),
    }


def mirrored(folder, methods):
    """`fit` under MirroredStrategy on two logical devices of one processor."""
    strategy, found = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]), {}
    for method in methods:
        with strategy.scope():
            model = fitted(method, folder)
        copies = zip(
            *(strategy.experimental_local_results(v.value) for v in model.trainable_variables)
        )
        found[method] = report(method, folder, fitted(method, folder), model, list(copies))
    return found


def data_parallel(folder, methods):
    """`fit` under DataParallel on two devices that XLA makes of one processor."""
    devices, found = keras.distribution.list_devices(), {}
    for method in methods:
        keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices))
        model = fitted(method, folder)
        copies = zip(
            *([s.data for s in v.value.addressable_shards] for v in model.trainable_variables)
        )
        keras.distribution.set_distribution(None)
        found[method] = report(method, folder, fitted(method, folder), model, list(copies))
    return found


def data_distributed(folder, methods):
    """A loop of one's own under DistributedDataParallel, which `fit` does not have."""
    import torch
    from torch import distributed
    from torch.nn.parallel import DistributedDataParallel

    distributed.init_process_group("gloo", timeout=datetime.timedelta(seconds=60))
    rank, found = distributed.get_rank(), {}

    def trained(method, wrap, share):
        parts, data = assembled(method, folder), drawn()
        model, loss, optimizer = wrap(parts.network), parts.model.loss, parts.model.optimizer
        variables = parts.network.trainable_variables
        optimizer.build(variables)
        for x, y in zip(*(np.split(each, STEPS) for each in (data.x_train, data.y_train))):
            parts.network.zero_grad()
            logits = model(torch.tensor(share(x) / np.float32(255)), training=True)
            total = loss(torch.tensor(share(y)), logits) + sum(parts.network.losses)
            total.backward()
            with torch.no_grad():
                optimizer.apply([variable.value.grad for variable in variables], variables)
        return parts.network

    for method in methods:
        model = trained(method, DistributedDataParallel, lambda v: np.split(v, REPLICAS)[rank])
        whole = trained(method, lambda network: network, lambda v: v)
        copies = [None] * REPLICAS
        distributed.all_gather_object(copies, weights(model))
        found[method] = report(method, folder, whole, model, copies)
    found["refused"] = refusal(folder)
    distributed.barrier()
    return found


def refusal(folder):
    try:
        fitted("free_at", folder)
    except ValueError as error:
        return str(error)


if __name__ == "__main__":
    main(*sys.argv[1:])
