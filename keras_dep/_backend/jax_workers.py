"""Data parallelism of JAX: Keras' `DataParallel` over the devices of one process or of several."""

import contextlib
import os
import pickle
import weakref
from collections.abc import Generator
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
from jax.experimental import multihost_utils

from keras_dep._backend.workers import Workers
from keras_dep._backend.workers import dividing_processor
from keras_dep._backend.workers import enough
from keras_dep._internal import keras_internals
from keras_dep._internal.types import ArrayLike
from keras_dep._internal.types import Tensor

# The address of the first process, which JAX and Keras read; either makes a run one of several.
ADDRESSES = ("KERAS_DISTRIBUTION_JOB_ADDRESSES", "JAX_COORDINATOR_ADDRESS")


class Parallel(keras.distribution.DataParallel):
    """Divides batches among devices; each device computes the whole of an uneven one.

    Keras refuses a batch without an equal part for each device.
    """

    def get_data_layout(self, data_shape: Sequence[int]) -> keras.distribution.TensorLayout:
        # The shape is that of the part of this process.
        divides = data_shape[0] % (self.num_model_replicas // self.num_processes) == 0
        name = self.batch_dim_name if divides else None
        axes = [name] + [None] * (len(data_shape) - 1)
        return keras.distribution.TensorLayout(axes, self.device_mesh)


class Devices(Workers):
    """The devices of all processes.

    A program sees whole batches, so its gradients and statistics are those of all devices. The
    processes run the same programs in the same order.
    """

    def __init__(self, distribution: Parallel) -> None:
        count = jax.process_count()
        super().__init__(
            engine="data_parallel",
            rank=jax.process_index(),
            count=count,
            devices=distribution.num_model_replicas // count,
            whole=True,
        )
        self.distribution = distribution
        # Functions that predict on any devices.
        self._predicting: weakref.WeakKeyDictionary[keras.Model, Any]
        self._predicting = weakref.WeakKeyDictionary()

    def gathered(self, value: Any) -> list[Any]:
        if self.count == 1:
            return [value]
        packed = np.frombuffer(pickle.dumps(value), "uint8")
        sizes = multihost_utils.process_allgather(np.int32(len(packed)))
        padded = np.zeros(sizes.max(), "uint8")
        padded[: len(packed)] = packed
        found = np.asarray(multihost_utils.process_allgather(padded))
        return [pickle.loads(part[:size].tobytes()) for part, size in zip(found, sizes)]

    def total(self, tensor: Tensor) -> Tensor:
        if self.count == 1:
            return tensor
        return jnp.asarray(multihost_utils.process_allgather(np.asarray(tensor)).sum(axis=0))

    def divided(self, array: Any) -> ArrayLike:
        # A process could not read the parts of the others.
        if self.count > 1:
            return array
        layout = self.distribution.get_data_layout(array.shape)
        return jax.device_put(array, layout.backend_layout)

    @contextlib.contextmanager
    def local(self, models: Sequence[keras.Model]) -> Generator[None, None, None]:
        if self.count == 1:
            yield
            return
        variables = {id(each): each for model in models for each in model.variables}.values()
        # Every device has the whole of each variable. Keras gives away what it predicts with.
        values = [(each, jnp.copy(each.value.addressable_data(0))) for each in variables]
        for model in models:
            # Keras fixes the devices of one that it makes under a distribution.
            if model.predict_function is not self._predicting.get(model):
                model.predict_function = None
        with keras_internals.jax_values(values):
            yield
        self._predicting.update((model, model.predict_function) for model in models)

    def leave(self) -> None:
        self.gathered(None)


def start_data_parallel(devices: int | None) -> Workers:
    if any(os.environ.get(name) for name in ADDRESSES):
        _join(devices)
        chosen = keras.distribution.list_devices()
    else:
        if devices is not None:
            with dividing_processor(devices, "JAX"):
                jax.config.update("jax_num_cpu_devices", devices)
        chosen = enough("data_parallel", keras.distribution.list_devices(), devices)
    # Each process gives its own part of a batch.
    distribution = Parallel(devices=chosen, auto_shard_dataset=False)
    keras.distribution.set_distribution(distribution)
    return Devices(distribution)


def _join(devices: int | None) -> None:
    if devices is not None:
        raise ValueError(
            "devices must be None for distribute=data_parallel with several processes, which use "
            f"all of their devices; received {devices}; set JAX_NUM_CPU_DEVICES."
        )
    # Of processors; GPUs have their own.
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    try:
        keras.distribution.initialize()
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            "distribute=data_parallel must join the processes of KERAS_DISTRIBUTION_JOB_ADDRESSES, "
            "KERAS_DISTRIBUTION_NUM_PROCESSES and KERAS_DISTRIBUTION_PROCESS_ID; received "
            f"{str(error).splitlines()[0]!r}; set all three, and start the engine first."
        ) from error


ENGINES = {"data_parallel": start_data_parallel}
