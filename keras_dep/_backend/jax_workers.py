"""Data parallelism of JAX: Keras' `DataParallel` over the devices of one process."""

import contextlib
from collections.abc import Generator

import jax
import keras

from keras_dep._backend.workers import Workers
from keras_dep._backend.workers import enough


@contextlib.contextmanager
def whole_batches(model: keras.Model) -> Generator[None, None, None]:
    before = keras.distribution.distribution()
    if before is None:
        yield
        return
    # The weights stay on all devices, each of which then computes the whole batch.
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(before)


def start_data_parallel(devices: int | None) -> Workers:
    if devices is not None:
        try:
            # Divides the processor; the number of GPUs is given.
            jax.config.update("jax_num_cpu_devices", devices)
        except RuntimeError as error:
            raise ValueError(
                f"devices must be set before JAX computes; received {devices} after that; start "
                "the engine first."
            ) from error
    chosen = enough("data_parallel", keras.distribution.list_devices(), devices)
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=chosen))
    # A program sees whole batches, so its gradients and statistics are those of all devices.
    return Workers(engine="data_parallel", devices=len(chosen))


ENGINES = {"data_parallel": start_data_parallel}
