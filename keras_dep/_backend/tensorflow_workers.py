"""Data parallelism of TensorFlow: the devices of one process, or processes."""

import contextlib
from typing import Any

import keras
import tensorflow as tf

from keras_dep._backend.workers import Workers
from keras_dep._backend.workers import enough
from keras_dep._internal import keras_internals
from keras_dep._internal.types import Tensor


class Mirrored(Workers):
    """The devices of one process under `tf.distribute.MirroredStrategy`.

    Keras divides a batch among them, and sums the gradients of their shares of the loss.
    """

    def __init__(self, strategy: tf.distribute.Strategy) -> None:
        super().__init__(engine="mirrored", devices=strategy.num_replicas_in_sync)
        self.strategy = strategy

    def mean(self, tensor: Tensor) -> Tensor:
        context = tf.distribute.get_replica_context()
        if context is None or context.num_replicas_in_sync == 1:
            return tensor
        total = context.all_reduce(tf.distribute.ReduceOp.SUM, tensor)
        return total / tf.cast(context.num_replicas_in_sync, tensor.dtype)

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        return self.strategy.scope()


def whole_batches(model: keras.Model) -> contextlib.AbstractContextManager[None]:
    return keras_internals.without_tensorflow_strategy(model)


def start_mirrored(devices: int | None) -> Workers:
    if devices is not None and not tf.config.list_physical_devices("GPU"):
        _divide_processor(devices)
    found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    names = [device.name for device in enough("mirrored", found, devices)]
    return Mirrored(tf.distribute.MirroredStrategy(names))


def _divide_processor(devices: int) -> None:
    processor = tf.config.list_physical_devices("CPU")[0]
    parts = [tf.config.LogicalDeviceConfiguration()] * devices
    try:
        tf.config.set_logical_device_configuration(processor, parts)
    except RuntimeError as error:
        raise ValueError(
            f"devices must be set before TensorFlow computes; received {devices} after that; start "
            "the engine first."
        ) from error


ENGINES = {"mirrored": start_mirrored}
