"""Data parallelism of TensorFlow: the devices of one process, or processes with one each."""

import contextlib
import json
import os
import pickle
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_dep._backend.workers import Processes
from keras_dep._backend.workers import Workers
from keras_dep._backend.workers import dividing_processor
from keras_dep._backend.workers import enough
from keras_dep._internal import keras_internals
from keras_dep._internal.types import Tensor

# All processes are one group of TensorFlow's collectives. The number lies beyond those of its
# strategies, which count from 1.
GROUP = 1_000_000


class Mirrored(Workers):
    """The devices of one process under `tf.distribute.MirroredStrategy`.

    Keras divides a batch among them, and sums the gradients of their shares of the loss.
    """

    def __init__(self, strategy: tf.distribute.Strategy) -> None:
        super().__init__(engine="mirrored", devices=strategy.num_replicas_in_sync, compiles=False)
        self.strategy = strategy

    def mean(self, tensor: Tensor) -> Tensor:
        context = tf.distribute.get_replica_context()
        if context is None or context.num_replicas_in_sync == 1:
            return tensor
        total = context.all_reduce(tf.distribute.ReduceOp.SUM, tensor)
        return total / tf.cast(context.num_replicas_in_sync, tensor.dtype)

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        return self.strategy.scope()


class Listed(Processes):
    """The processes of `TF_CONFIG`.

    Keras 3.15 has no `fit` under `MultiWorkerMirroredStrategy`. So each process runs a `fit` of its
    own, and TensorFlow's collectives average the gradients. The strategy only connects the
    processes.
    """

    def __init__(self, rank: int, count: int) -> None:
        super().__init__(engine="multiworker", rank=rank, count=count, compiles=False)
        self.strategy = tf.distribute.MultiWorkerMirroredStrategy()
        self._instances = 0

    def gathered(self, value: Any) -> list[Any]:
        packed = np.frombuffer(pickle.dumps(value), "uint8")
        sizes = self._all([len(packed)])
        # Collectives take no bytes, but whole numbers of eight.
        words = -(-int(max(sizes)) // 8)
        padded = np.zeros(8 * words, "uint8")
        padded[: len(packed)] = packed
        found = self._all(padded.view("int64")).numpy().reshape(self.count, words).view("uint8")
        return [pickle.loads(row[:size].tobytes()) for row, size in zip(found, sizes.numpy())]

    def mean(self, tensor: Tensor) -> Tensor:
        @tf.custom_gradient
        def mean(tensor: Tensor) -> tuple[Tensor, Any]:
            return self.total(tensor) / tf.cast(self.count, tensor.dtype), self.mean

        return mean(tensor)

    def leave(self) -> None:
        # A process that has got here may end, and close its sockets, before this one hears of it.
        with contextlib.suppress(tf.errors.UnavailableError):
            self._all([self.rank])

    def total(self, tensor: Tensor) -> Tensor:
        return tf.raw_ops.CollectiveReduceV2(
            input=tensor, merge_op="Add", final_op="Id", ordering_token=[], **self._place()
        )

    def _all(self, numbers: Any) -> Tensor:
        """The numbers of all processes, one after the other."""
        own = tf.convert_to_tensor(np.asarray(numbers, "int64"))
        return tf.raw_ops.CollectiveGatherV2(input=own, ordering_token=[], **self._place())

    def _place(self) -> dict[str, Any]:
        # All processes call or trace the collectives in the same order.
        self._instances += 1
        return {
            "group_size": self.count,
            "group_key": GROUP,
            "instance_key": self._instances,
            "communication_hint": "auto",
        }


def whole_batches(model: keras.Model) -> contextlib.AbstractContextManager[None]:
    return keras_internals.without_tensorflow_strategy(model)


def start_mirrored(devices: int | None) -> Workers:
    if devices is not None and not tf.config.list_physical_devices("GPU"):
        _divide_processor(devices)
    found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    names = [device.name for device in enough("mirrored", found, devices)]
    return Mirrored(tf.distribute.MirroredStrategy(names))


def start_multiworker(devices: int | None) -> Workers:
    if devices is not None:
        raise ValueError(
            "devices must be None for distribute=multiworker, whose processes have one each; "
            f"received {devices}; list more processes in TF_CONFIG."
        )
    given = os.environ.get("TF_CONFIG", "")
    try:
        config = json.loads(given)
        rank, count = int(config["task"]["index"]), len(config["cluster"]["worker"])
        known = set(config["cluster"]) == {"worker"} and config["task"]["type"] == "worker"
    except (ValueError, TypeError, KeyError):
        known = False
    if not known or not 0 <= rank < count:
        raise ValueError(
            "distribute=multiworker needs TF_CONFIG with the addresses of its workers; received "
            f"TF_CONFIG={given!r}; set for the first of two "
            '{"cluster": {"worker": ["HOST:PORT", "HOST:PORT"]}, "task": {"type": "worker", '
            '"index": 0}}.'
        )
    try:
        return Listed(rank, count)
    except RuntimeError as error:
        raise ValueError(
            "distribute=multiworker must start before TensorFlow computes; received "
            f"{str(error).splitlines()[0]}; start the engine first."
        ) from error


def _divide_processor(devices: int) -> None:
    processor = tf.config.list_physical_devices("CPU")[0]
    parts = [tf.config.LogicalDeviceConfiguration()] * devices
    with dividing_processor(devices, "TensorFlow"):
        tf.config.set_logical_device_configuration(processor, parts)


ENGINES = {"mirrored": start_mirrored, "multiworker": start_multiworker}
