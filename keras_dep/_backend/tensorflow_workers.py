"""Data parallelism of TensorFlow: the devices of one process, or processes with one each."""

import contextlib
import json
import os
import pickle
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any
from typing import cast

import keras
import numpy as np
import tensorflow as tf

from keras_dep._backend.workers import Processes
from keras_dep._backend.workers import Workers
from keras_dep._backend.workers import dividing_processor
from keras_dep._backend.workers import enough
from keras_dep._backend.workers import workers
from keras_dep._internal import keras_internals
from keras_dep._internal.types import ArrayLike
from keras_dep._internal.types import Tensor

# All processes are one group of TensorFlow's collectives. The number lies beyond those of its
# strategies, which count from 1.
GROUP = 1_000_000
# An array of which each device has a part.
Parts = tf.distribute.DistributedValues


class Mirrored(Workers):
    """The devices of one process under `tf.distribute.MirroredStrategy`.

    Keras divides a batch among them, and sums the gradients of their shares of the loss.
    """

    def __init__(self, strategy: tf.distribute.Strategy) -> None:
        super().__init__(engine="mirrored", devices=strategy.num_replicas_in_sync, compiles=False)
        self.strategy = strategy
        self.names = strategy.extended.worker_devices

    def mean(self, tensor: Tensor) -> Tensor:
        context = tf.distribute.get_replica_context()
        if context is None or context.num_replicas_in_sync == 1:
            return tensor
        total = context.all_reduce(tf.distribute.ReduceOp.SUM, tensor)
        return total / tf.cast(context.num_replicas_in_sync, tensor.dtype)

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        return self.strategy.scope()

    def in_parts(self, array: Any, model: keras.Model) -> Any:
        return self.split(array) if self._suits(model, array) else array

    def split(self, values: Any, axis: int = 0) -> Any:
        """Nested arrays in equal parts, one for each device."""

        def one(array: Any) -> Any:
            parts = tf.split(array, self.devices, axis)
            return self.strategy.experimental_distribute_values_from_function(
                lambda context: parts[context.replica_id_in_sync_group]
            )

        return tf.nest.map_structure(one, values)

    def concatenated(self, values: Any, axis: int = 0) -> Any:
        """The nested results of the devices, each in one tensor."""
        local = self.strategy.experimental_local_results
        return tf.nest.map_structure(lambda value: tf.concat(local(value), axis), values)

    def part(self, values: Any, index: int) -> Any:
        """Nested values with the part of one device in place of each divided one."""
        local = self.strategy.experimental_local_results
        return tf.nest.map_structure(
            lambda value: local(value)[index] if isinstance(value, Parts) else value, values
        )

    def _suits(self, model: keras.Model, array: Any) -> bool:
        # The program of a replica sees its part alone.
        is_whole = not tf.distribute.has_strategy() or tf.distribute.in_cross_replica_context()
        # All devices would draw the same numbers.
        draws = bool(keras_internals.random_states(model))
        made_here = keras_internals.tensorflow_strategy(model) is self.strategy
        return is_whole and made_here and not draws and len(array) % self.devices == 0


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


def predict_on_batch(model: keras.Model, images: ArrayLike) -> Any:
    parts = workers().in_parts(images, model)
    if isinstance(parts, Parts):
        return model.predict_on_batch(parts)
    # Else each replica answers for all images.
    with keras_internals.without_tensorflow_strategy(model):
        return model.predict_on_batch(images)


def over_devices(
    both: Callable[..., Any], model: keras.Model, x: Tensor, y: Any, extra: Sequence[Any]
) -> tuple[Tensor, Tensor, Any]:
    """The gradient, outputs and memory of a function `(x, y, extra)`, as of one device.

    Args:
        both: a `tf.function`; see `gradient_and_outputs` of `keras_dep._backend`.
        model: the model that it asks.
        x: inputs.
        y: targets, or `None`.
        extra: nothing, or numbers and memory.
    """
    joined = workers()
    parts = joined.in_parts(x, model)
    if not isinstance(joined, Mirrored) or parts is x:
        return both(x, y, extra)
    if extra:
        numbers, memory = extra
        extra = [numbers, None if memory is None else joined.split(memory, axis=1)]
    y = None if y is None else joined.split(y)
    gradient, outputs, memory = joined.strategy.run(both, (parts, y, extra))
    gradient, outputs = joined.concatenated((gradient, outputs))
    return gradient, outputs, joined.concatenated(memory, axis=1)


def averaged(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A function that takes divided arguments too, and then gives the mean over the devices.

    It runs outside of strategies, under which a loss of Keras divides by the number of replicas.

    Args:
        function: a function of nested tensors to one tensor. It must read no variable, which it
            would find on the first device.
    """
    alone = function_of_one_model(function)

    @function_of_one_model
    def together(parts: Sequence[Any]) -> Tensor:
        found = []
        for device, arguments in zip(cast(Mirrored, workers()).names, parts):
            with tf.device(device):
                found.append(function(*arguments))
        return tf.add_n(found) / len(found)

    def call(*arguments: Any) -> Tensor:
        joined = workers()
        is_divided = any(isinstance(each, Parts) for each in tf.nest.flatten(arguments))
        with keras_internals.outside_tensorflow_strategies():
            if not isinstance(joined, Mirrored) or not is_divided:
                return alone(*arguments)
            return together([joined.part(arguments, index) for index in range(joined.devices)])

    return call


def function_of_one_model(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps in `tf.function`, without the retracing warning, which counts other models' traces."""
    compiled = tf.function(function, reduce_retracing=True)
    keras_internals.omit_retracing_warning(compiled)
    return compiled


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
