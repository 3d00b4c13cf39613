"""One hetero-training run, from settings to result: the protocol of `apps/hetero_train.py`."""

import contextlib
import dataclasses
import gc
import os
import warnings
from typing import Any

import keras
import numpy as np

from keras_dep import _backend
from keras_dep import attacks
from keras_dep import callbacks
from keras_dep import distribution
from keras_dep import evaluation
from keras_dep import losses
from keras_dep._backend import aside
from keras_dep._internal import atomic_io
from keras_dep._internal import environment
from keras_dep._internal import fingerprint
from keras_dep._internal.types import Record
from keras_dep.attacks.randomness import is_random
from keras_dep.data import loader
from keras_dep.data import pixels
from keras_dep.data import sources
from keras_dep.data.events import as_pictures
from keras_dep.defences import Defence
from keras_dep.defences import get
from keras_dep.evaluation.evaluate import SAMPLES_OF_RANDOM_MODELS
from keras_dep.experiments import build
from keras_dep.experiments import distributed
from keras_dep.experiments import results
from keras_dep.experiments.settings import Settings
from keras_dep.models import inference
from keras_dep.optimizers.iterations import iterations
from keras_dep.summaries import EventWriter
from keras_dep.training import adversarial
from keras_dep.training.recalibration import recalibrate

# Training images, at most, that running statistics are measured anew on.
RECALIBRATED = 4096
# Test images that are read at a time, of sets that are not in memory.
READ_TOGETHER = 1024


def run(
    settings: Settings,
    method: str | Defence,
    folder: str | os.PathLike,
    data: sources.Dataset | None = None,
    resume: bool = False,
    verbose: str | int = "auto",
    patience: float = 0.0,
) -> Record:
    """Trains one network, measures it, and writes result, model, state and events to a folder.

    Args:
        settings: the `keras_dep.experiments.Settings`. A method that publishes values for some of
            them trains with those.
        method: the `keras_dep.defences.Defence`, or an expression for `keras_dep.defences.get`,
            such as `"sgd"` or `"dep"`.
        folder: folder of `result.json`, `model.keras`, `state.*`, the event files and, with
            `keep_epochs`, the weights of the epochs; created if needed.
        data: a `keras_dep.data.sources.Dataset`; default: what `build.load_data(settings)` gives.
        resume: start from the state in the folder; without one, from the beginning.
        verbose: as in `keras.Model.fit`.
        patience: seconds to wait for a folder that is in use by another process.

    Where `keras_dep.distribution.start` was called, its workers share the batches, attacks and
    evaluation of the run; each must call `run` with the same arguments, and with a folder that all
    of them see. The chief alone writes there.

    Returns:
        The dictionary written to `result.json`.

    Raises:
        ValueError: settings that do not fit the data, an unknown method, a folder that holds
            another run or is in use by another process, or a state of another model.
    """
    method = get(method) if isinstance(method, str) else method
    policy = keras.mixed_precision.dtype_policy()
    try:
        settings = build.settings_of(settings, method)
        data = data or build.load_data(settings)
        return _Run(settings, method, os.fspath(folder), data).execute(resume, verbose, patience)
    finally:
        keras.mixed_precision.set_dtype_policy(policy)
        # A model is a cycle: its tensors would stay until long after the next run has begun.
        gc.collect()


class _Run:
    """The parts of one run, in the order of their use."""

    def __init__(
        self, settings: Settings, method: Defence, folder: str, data: sources.Dataset
    ) -> None:
        self.settings = settings
        self.method = method
        self.folder = folder
        self.data = data
        self.workers = distribution.workers()
        self.description = results.description(settings, method.name)
        self.batches = build.build_batches(settings, data)

    def execute(self, resume: bool, verbose: str | int, patience: float) -> Record:
        workers, found = self.workers, None
        distributed.check(self.settings, self.method)
        with contextlib.ExitStack() as claim:
            if workers.chief:
                _make(self.folder)
                claim.enter_context(atomic_io.claimed(self.folder, patience=patience))
                if not resume:
                    _refuse_held(self.folder)
                found = _finished_result(self.folder, self.description)
            found = workers.of_chief(found)
            if found is not None:
                return found
            result = self._train_and_save(verbose if workers.chief else 0)
            # No worker leaves while the chief writes.
            return workers.of_chief(result)

    def _train_and_save(self, verbose: str | int) -> Record:
        keras.mixed_precision.set_dtype_policy(self.settings.precision)
        if self.settings.precision != "float32" and _backend.half_is_slow():
            warnings.warn(
                f"precision={self.settings.precision} runs without kernels of its own on this "
                "processor, and convolutions take many times as long as in float32; choose "
                "float32, or the jax or tensorflow backend.",
                stacklevel=2,
            )
        aside.leave_out_tensorflow()
        keras.utils.set_random_seed(self.settings.seed)
        with self.workers.scope():
            self.parts = build.assemble(
                self.settings, self.method, self.data, self.batches, os.path.dirname(self.folder)
            )
            if self.workers.devices > 1:
                # A state is restored outside the scope, where none can be added.
                model = self.parts.model
                model.optimizer.build(model.trainable_variables)
        distributed.check_draws(self.parts.model)
        self._make_callbacks()
        first_epoch = self.state.restore(self.parts.model)
        # Events after the restored state are written again: all of them if there is no state.
        redone = iterations(self.parts.model.optimizer) + 1 if first_epoch else 0
        with self._writer(redone) as writer:
            self._train(writer, first_epoch, verbose)
            self.batches.close()
            if self.settings.normalization_control == "recalibrate":
                images = pixels.scaled(self.data.x_train[:RECALIBRATED])
                recalibrate(self.parts.network, images, self.settings.batch_size)
            result = self._measure(writer)
        if not self.workers.chief:
            return result
        # The other workers do not call it.
        with _backend.alone():
            return results.save(self.folder, self.parts.network, result)

    def _writer(self, redone: int) -> contextlib.AbstractContextManager[EventWriter | None]:
        if self.workers.chief:
            return EventWriter(self.folder, purge_step=redone)
        return contextlib.nullcontext()

    def _make_callbacks(self) -> None:
        settings, data, parts = self.settings, self.data, self.parts
        watched = slice(0, settings.watch_examples)
        self.watch = callbacks.CollapseWatch(
            pixels.scaled(data.x_test[watched]), data.y_test[watched], chance=1 / data.num_classes
        )
        inserts = settings.poison_mode == "insert" and settings.poison_count > 0
        source = adversarial.PoisonSource(
            data.x_train,
            data.y_train,
            min(settings.batch_size, len(data.x_train)),
            resample=settings.poison_resample,
            seed=settings.seed,
        )
        self.poison = callbacks.PoisonInjection(
            settings.poison,
            source if inserts else None,
            attack=build.poison_attack(settings, parts.attack, parts.network),
            watch=self.watch,
            freeze_statistics=settings.normalization_control == "frozen",
        )
        probe = slice(0, settings.hessian_examples)
        self.hessian = callbacks.HessianSpectrum(
            pixels.scaled(data.x_train[probe]),
            data.y_train[probe],
            loss=losses.MeanLogitCrossentropy(),
            every=settings.hessian_every or "epoch",
            align=True,
            max_share=settings.hessian_share,
            network=parts.network,
        )
        self.clock = callbacks.StepClock()
        self.board = callbacks.BoardLog()
        counting = {
            "poison": self.poison,
            "watch": self.watch,
            "hessian": self.hessian,
            "clock": self.clock,
            **{
                f"method {index}": callback
                for index, callback in enumerate(parts.callbacks)
                if hasattr(callback, "get_state")
            },
        }
        self.state = callbacks.ResumeState(
            os.path.join(self.folder, "state"),
            callbacks=counting,
            metadata={**self.description, **distributed.metadata()},
            writes=self.workers.chief,
        )

    def _train(self, writer: EventWriter | None, first_epoch: int, verbose: str | int) -> None:
        settings, parts = self.settings, self.parts
        defaults = dataclasses.asdict(Settings())
        if writer is not None:
            callbacks.describe_run(writer, results.hparams(self.description), defaults)
        for callback in (self.poison, self.watch, self.hessian, self.board):
            callback.writer = writer
        rate = keras.callbacks.LearningRateScheduler(
            lambda epoch: build.learning_rate(settings, epoch), verbose=0
        )
        measuring = [self.hessian] if settings.hessian_examples else []
        if settings.keep_epochs and self.workers.chief:
            folder = os.path.join(self.folder, results.EPOCHS)
            measuring.append(callbacks.EpochWeights(folder, parts.network))
        test_data: Any = build.evaluation_batches(settings, self.data)
        if self.data.in_memory:
            test_data = pixels.scaled(self.data.x_test), self.data.y_test
        shared = distributed.share(parts.training_data, test_data, settings.batch_size)
        parts.model.fit(
            shared.training_data,
            validation_data=shared.validation_data,
            validation_batch_size=settings.batch_size,
            epochs=settings.epochs,
            shuffle=False,
            initial_epoch=first_epoch,
            callbacks=[
                *shared.callbacks,
                loader.FollowEpoch(self.batches),
                rate,
                *parts.callbacks,
                self.poison,
                self.watch,
                *measuring,
                self.board,
                self.clock,
                self.state,
            ],
            verbose=verbose,
        )

    def _measure(self, writer: EventWriter | None) -> Record:
        """Measures the robustness of the trained network; returns all that the run recorded."""
        settings, network = self.settings, self.parts.network
        chosen = slice(0, settings.attack_examples)
        images, labels = pixels.scaled(self.data.x_test[chosen]), self.data.y_test[chosen]
        samples = SAMPLES_OF_RANDOM_MODELS if is_random(network, images[:1]) else 1
        threats = measuring_attacks(settings, samples)
        measured = evaluation.evaluate(
            network,
            images,
            labels,
            suite=threats,
            early_exit=False,
            batch_size=settings.batch_size,
            verbose=0,
        )
        accuracy = {
            "clean": _clean_accuracy(network, self.data),
            **{row["attack"]: row["accuracy"] for row in measured["attacks"]},
        }
        step = iterations(self.parts.model.optimizer)
        first = slice(0, settings.batch_size)
        crafted = evaluation.craft(
            network, threats["pgd"], images[first], labels[first], settings.batch_size
        )
        if writer is not None:
            for name, value in accuracy.items():
                writer.scalar(f"result/{name}", value, step)
            clean, attacked = (as_pictures(each[:1]) for each in (images, crafted))
            triple = evaluation.side_by_side(clean, attacked, settings.eval_epsilon)
            writer.image("visualization/clean_adversarial_difference", triple, step)
        return {
            **self.description,
            **environment.environment(),
            "data": {"train": self.data.train.fingerprint, "test": self.data.test.fingerprint},
            **distributed.metadata(),
            "accuracy": accuracy,
            "attacked_examples": len(images),
            "evaluation": evaluation.summary(measured),
            "poisoned_batches": self.poison.injected,
            "collapse": self.watch.events,
            "worst_after_poison": self.watch.worst_accuracy,
            "collapsed": self.watch.collapsed,
            "hessian": self._final_spectrum(step),
            "hessian_history": self.hessian.history,
            "hessian_not_finite": self.hessian.not_finite,
            "seconds_per_step": self.clock.seconds_per_step,
            "steps": step,
            "peak_memory": environment.peak_memory(),
            "history": self.state.history,
        }

    def _final_spectrum(self, step: int) -> Record | None:
        """The spectrum after the last step; `None` if it is not wanted or not finite."""
        if not self.settings.hessian_examples or step in self.hessian.not_finite:
            return None
        history = self.hessian.history
        is_there = history and history[-1]["iteration"] == step
        return history[-1] if is_there else self.hessian.measure()


def _clean_accuracy(network: keras.Model, data: sources.Dataset) -> float:
    """Accuracy on all test images, read a part at a time where they are not in memory."""
    count = len(data.x_test)
    size = count if data.in_memory else READ_TOGETHER
    parts, sizes = [], []
    for start in range(0, count, size):
        images = pixels.scaled(data.x_test[start : start + size])
        labels = data.y_test[start : start + size]
        parts.append(inference.accuracy_and_loss(network, images, labels)[0])
        sizes.append(len(images))
    return parts[0] if len(parts) == 1 else float(np.average(parts, weights=sizes))


def measuring_attacks(
    settings: Settings, samples: int = 1
) -> dict[str, attacks.FGSM | attacks.PGD]:
    """The attacks of the final measurement, by name.

    Args:
        settings: what the run does.
        samples: gradients to average, for networks that draw at random.
    """
    return {
        "fgsm": attacks.FGSM(epsilon=settings.eval_epsilon, samples=samples),
        "pgd": attacks.PGD(
            epsilon=settings.eval_epsilon,
            step_size=settings.eval_step_size,
            steps=settings.eval_steps,
            restarts=settings.eval_restarts,
            seed=settings.seed,
            samples=samples,
        ),
    }


def _make(folder: str) -> None:
    """Makes a run's folder if needed, and checks that it can be written."""
    try:
        atomic_io.try_folder(folder)
    except OSError as error:
        raise ValueError(
            f"out_dir {folder!r} cannot be written ({error.strerror}); choose another folder."
        ) from error


def _refuse_held(folder: str) -> None:
    if any(name.startswith(("state.", "result.")) for name in os.listdir(folder)):
        raise ValueError(
            f"out_dir {folder!r} already holds a run; pass --resume to continue it, or choose "
            "another folder."
        )


def _finished_result(folder: str, description: Record) -> Record | None:
    """Reads the result of a finished run, if any; raises `ValueError` for that of another run."""
    path = os.path.join(folder, results.RESULT)
    if not os.path.exists(path):
        return None
    mend = "remove the file to measure the network again from the last state"
    _, result = results.finished(folder, results.SHOWN, mend)
    names = result["settings"] | description["settings"]
    found, wanted = (
        {"backend": each["backend"], "method": each["method"]}
        | {name: each["settings"].get(name) for name in names}
        for each in (result, description)
    )
    fingerprint.refuse_other(
        path, "a finished run", found, wanted, "choose another folder or the same settings"
    )
    return result
