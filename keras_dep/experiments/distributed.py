"""One run over several workers: unsupported settings, and each worker's share of the data."""

import dataclasses
from typing import Any

import keras

from keras_dep import distribution
from keras_dep._internal import keras_internals
from keras_dep._internal.types import Record
from keras_dep.defences import Defence
from keras_dep.experiments.settings import Settings


@dataclasses.dataclass(frozen=True, kw_only=True)
class Share:
    """The arguments of `fit` on one worker.

    Args:
        training_data: its parts of the batches.
        validation_data: its validation images and labels.
        callbacks: to list first in `fit`.
    """

    training_data: keras.utils.PyDataset
    validation_data: Any
    callbacks: list[keras.callbacks.Callback]


def share(training_data: keras.utils.PyDataset, validation_data: Any, batch_size: int) -> Share:
    """What this worker trains and validates on.

    Args:
        training_data: the whole batches.
        validation_data: all validation images and labels, or a data set, which every worker then
            reads as a whole.
        batch_size: of validation images and labels.
    """
    workers = distribution.workers()
    if workers.whole:
        # Each process validates on all images, which leaves the means as they are.
        if isinstance(validation_data, tuple):
            validation_data = [
                tuple(each[start : start + batch_size] for each in validation_data)
                for start in range(0, len(validation_data[0]), batch_size)
            ]
        return Share(
            training_data=distribution.OwnShares(training_data),
            validation_data=_LastFirst(validation_data),
            callbacks=[],
        )
    if workers.count == 1:
        return Share(training_data=training_data, validation_data=validation_data, callbacks=[])
    count = 1
    if isinstance(validation_data, tuple):
        own = slice(workers.rank, None, workers.count)
        validation_data = tuple(each[own] for each in validation_data)
        count = len(validation_data[0])
    return Share(
        training_data=distribution.OwnShares(training_data),
        validation_data=validation_data,
        callbacks=[distribution.WholeLogs(count)],
    )


class _LastFirst(keras.utils.PyDataset):
    """Batches, the last of them first: Keras lays out all as the first, also a smaller one."""

    def __init__(self, batches: Any) -> None:
        super().__init__()
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Any:
        return self.batches[(index - 1) % len(self)]


def metadata() -> Record:
    """What results and states record of the workers: nothing where there is one.

    With synchronised statistics a state does not depend on their number, so that a run may go on
    with fewer.
    """
    workers = distribution.workers()
    if workers.engine is None or workers.synchronised:
        return {}
    return {"distribution": {"statistics": "local", "workers": workers.parts}}


def check(settings: Settings, method: Defence) -> None:
    """Refuses a run whose workers would not keep the same weights.

    Args:
        settings: those of the run.
        method: its method.

    Raises:
        ValueError: such settings, or a batch that the workers cannot share equally.
    """
    workers = distribution.workers()
    if workers.engine is None:
        return
    distribution.check_batch(settings.batch_size)
    if settings.test_examples is not None and settings.test_examples < workers.count:
        raise ValueError(
            f"test_examples must be at least {workers.count}, one for each worker; received "
            f"{settings.test_examples}."
        )
    if settings.jit == "on" and not workers.compiles:
        raise ValueError(
            f"jit must not be on with distribute={workers.engine}, as XLA compiles no exchange "
            "between its workers; received on; choose auto."
        )
    if settings.precision == "mixed_float16" and not workers.whole:
        raise ValueError(
            f"precision must not be mixed_float16 with distribute={workers.engine}, whose workers "
            "would scale their losses apart; received mixed_float16; choose mixed_bfloat16."
        )
    changes = method.neuron, method.after_spikes, method.encoder, *method.loss_terms
    if workers.engine == "mirrored" and any(each is not None for each in changes):
        # Tried with synchronised statistics: terms of the loss fail, dlif and hosnn differ.
        raise ValueError(
            "methods must leave the network and its loss as they are with distribute=mirrored, "
            f"whose replicas would train otherwise than one device; received {method.name}; choose "
            "distribute=multiworker."
        )
    if method.replay is not None and not workers.whole:
        raise ValueError(
            f"methods must update the weights once per batch with distribute={workers.engine}; "
            f"received {method.name}; choose another."
        )


def check_draws(model: keras.Model) -> None:
    """Refuses a model that draws at random, as all workers would draw the same numbers.

    Args:
        model: the model of the run, with the parts of its method.

    Raises:
        ValueError: dropout, a random encoder, or another layer that draws.
    """
    found = keras_internals.random_states(model)
    workers = distribution.workers()
    if workers.parts > 1 and not workers.whole and found:
        raise ValueError(
            "layers must not draw at random with --distribute, as all workers would draw the same; "
            f"received {len(found)} generators in {model.name!r}; leave out dropout, the random "
            "encoder or the method."
        )
