"""One hetero-training run from settings to result: the protocol behind `apps/hetero_train.py`."""

import dataclasses
import math
import os
import platform

import keras
import numpy as np

from keras_dep import attacks
from keras_dep import callbacks
from keras_dep import losses
from keras_dep import models
from keras_dep._backend import aside
from keras_dep._internal import atomic_io
from keras_dep._internal import fingerprint
from keras_dep.data import loader
from keras_dep.data import sources
from keras_dep.evaluation import side_by_side
from keras_dep.experiments import results
from keras_dep.experiments.results import finished as finished
from keras_dep.experiments.settings import Settings
from keras_dep.layers.lif import CONSTANTS
from keras_dep.models import inference
from keras_dep.optimizers import DEP
from keras_dep.optimizers import CoupledWeightDecay
from keras_dep.summaries import EventWriter
from keras_dep.training import adversarial

OPTIMIZERS = ("sgd", "dep")
# Where a run keeps the weights of its epochs, in its folder.
EPOCHS = "epochs"
# Settings that leave the result as it is.
ASIDE = ("data_dir", "download", "keep_epochs")
JIT = {"auto": "auto", "on": True, "off": False}


def run(settings: Settings, optimizer, folder, data=None, resume=False, verbose="auto"):
    """Trains one network, measures it, and leaves result, model, state and events in a folder.

    Args:
        settings: the `keras_dep.experiments.settings.Settings`.
        optimizer: `"sgd"`, or `"dep"` for the same SGD inside `keras_dep.DEP`.
        folder: where `result.json`, `model.keras`, `state.*`, the event files and, on demand, the
            weights of the epochs go; created.
        data: a `keras_dep.data.sources.Dataset`; default: what `load_data(settings)` gives.
        resume: go on from the state in the folder; without one, start at the beginning.
        verbose: as in `keras.Model.fit`.

    Returns:
        The dictionary written to `result.json`.

    Raises:
        ValueError: settings that do not fit the data, a folder that holds another run or that
            another process writes to, or a state of another model.
    """
    if optimizer not in OPTIMIZERS:
        raise ValueError(
            f"optimizer must be one of {', '.join(OPTIMIZERS)}; received {optimizer!r}."
        )
    policy = keras.mixed_precision.dtype_policy()
    try:
        return _Run(settings, optimizer, folder, data or load_data(settings)).execute(
            resume, verbose
        )
    finally:
        keras.mixed_precision.set_dtype_policy(policy)


def load_data(settings):
    """The `keras_dep.data.sources.Dataset` of these settings; see `keras_dep.data.load`."""
    return sources.load(
        settings.dataset,
        data_dir=settings.data_dir,
        download=settings.download,
        train_examples=settings.train_examples,
        test_examples=settings.test_examples,
    )


def build_network(settings, data):
    """The untrained network of these settings for a data set."""
    return models.build(
        settings.model,
        input_shape=data.image_shape,
        num_classes=data.num_classes,
        timesteps=settings.timesteps,
        neuron={name: getattr(settings, name) for name in CONSTANTS},
        encoder=settings.encoder,
        normalization=settings.normalization,
        dropout=settings.dropout,
        spiking=settings.spiking,
        mean=data.mean,
        std=data.std,
    )


def build_optimizer(settings, optimizer):
    """SGD with the paper's coupled weight decay, inside `DEP` where asked for."""
    inner = keras.optimizers.SGD(settings.learning_rate, momentum=settings.momentum)
    if settings.weight_decay:
        inner = CoupledWeightDecay(inner, settings.weight_decay)
    return DEP(inner, rank_one=settings.rank_one) if optimizer == "dep" else inner


def build_loss(settings):
    """The training loss of these settings."""
    kind = {
        "mean_logit": losses.MeanLogitCrossentropy,
        "tet": losses.TemporalEfficientTraining,
    }[settings.loss]
    return kind(mse_weight=settings.mse_weight)


def learning_rate(settings, epoch):
    if settings.schedule == "constant":
        return settings.learning_rate
    return 0.5 * settings.learning_rate * (1 + math.cos(math.pi * epoch / settings.epochs))


class _Run:
    """The parts of one run, in the order in which they are built and used."""

    def __init__(self, settings, optimizer, folder, data):
        self.settings = settings
        self.optimizer = optimizer
        self.folder = folder
        self.data = data
        self.description = {
            "optimizer": optimizer,
            "backend": keras.backend.backend(),
            "settings": _identity(settings),
        }
        self.batches = loader.Batches(
            data.x_train,
            data.y_train,
            batch_size=settings.batch_size,
            seed=settings.seed,
            augment=settings.augment,
        )
        self.test_images = _scaled(data.x_test)
        self.probe = (
            _scaled(data.x_train[: settings.hessian_examples]),
            data.y_train[: settings.hessian_examples],
        )

    def execute(self, resume, verbose):
        _make(self.folder)
        with atomic_io.claimed(self.folder):
            if not resume:
                _refuse_held(self.folder)
            return _finished_result(self.folder, self.description) or self._train_and_save(verbose)

    def _train_and_save(self, verbose):
        keras.mixed_precision.set_dtype_policy(self.settings.precision)
        aside.leave_out_tensorflow()
        keras.utils.set_random_seed(self.settings.seed)
        self._assemble()
        self._attach_callbacks()
        first_epoch = self.state.restore(self.model)
        # Events behind the restored state, or all of a run that saved none, happen again.
        redone = int(self.model.optimizer.iterations) + 1 if first_epoch else 0
        with EventWriter(self.folder, purge_step=redone) as writer:
            self._train(writer, first_epoch, verbose)
            result = self._measure(writer)
        return results.save(self.folder, self.network, result)

    def _assemble(self):
        """The model that `fit` trains and the data it reads."""
        settings = self.settings
        self.network = build_network(settings, self.data)
        self.attack = _training_attack(settings)
        replacing = settings.poison_mode == "replace" and settings.poison_count > 0
        self.inserting = settings.poison_mode == "insert" and settings.poison_count > 0
        if settings.base == "clean" and not replacing:
            self.model, self.training_data = self.network, self.batches
        else:
            self.model = adversarial.PerturbedTraining(self.network, self.attack, name="training")
            self.training_data = adversarial.MarkedBatches(
                self.batches,
                settings.base,
                self.attack,
                replaced=settings.poison if replacing else None,
            )
        self.model.compile(
            optimizer=build_optimizer(settings, self.optimizer),
            loss=build_loss(settings),
            metrics=[losses.MeanLogitAccuracy()],
            jit_compile=JIT[settings.jit],
        )

    def _attach_callbacks(self):
        settings, data = self.settings, self.data
        watched = slice(0, settings.watch_examples)
        self.watch = callbacks.CollapseWatch(
            self.test_images[watched], data.y_test[watched], chance=1 / data.num_classes
        )
        source = adversarial.PoisonSource(
            data.x_train,
            data.y_train,
            min(settings.batch_size, len(data.x_train)),
            resample=settings.poison_resample,
            seed=settings.seed,
        )
        self.poison = callbacks.PoisonInjection(
            settings.poison,
            source if self.inserting else None,
            attack=self.attack if settings.base == "clean" else None,
            watch=self.watch,
        )
        self.hessian = callbacks.HessianSpectrum(
            *self.probe,
            loss=losses.MeanLogitCrossentropy(),
            every=settings.hessian_every or "epoch",
            align=True,
            max_share=settings.hessian_share,
            network=self.network,
        )
        self.clock = callbacks.StepClock()
        self.board = callbacks.BoardLog()
        counting = {
            "poison": self.poison,
            "watch": self.watch,
            "hessian": self.hessian,
            "clock": self.clock,
        }
        self.state = callbacks.ResumeState(
            os.path.join(self.folder, "state"),
            callbacks=counting,
            metadata=self.description,
        )

    def _train(self, writer, first_epoch, verbose):
        settings = self.settings
        writer.hparams(_hparams(self.description), metrics=["result/clean", "result/pgd"])
        for callback in (self.poison, self.watch, self.hessian, self.board):
            callback.writer = writer
        rate = keras.callbacks.LearningRateScheduler(
            lambda epoch: learning_rate(settings, epoch), verbose=0
        )
        measuring = [self.hessian] if settings.hessian_examples else []
        if settings.keep_epochs:
            folder = os.path.join(self.folder, EPOCHS)
            measuring.append(callbacks.EpochWeights(folder, self.network))
        self.model.fit(
            self.training_data,
            validation_data=(self.test_images, self.data.y_test),
            validation_batch_size=settings.batch_size,
            epochs=settings.epochs,
            shuffle=False,
            initial_epoch=first_epoch,
            callbacks=[
                loader.FollowEpoch(self.batches),
                rate,
                self.poison,
                self.watch,
                *measuring,
                self.board,
                self.clock,
                self.state,
            ],
            verbose=verbose,
        )

    def _measure(self, writer):
        """Robustness of the trained network, and everything the run recorded."""
        settings = self.settings
        chosen = slice(0, settings.attack_examples)
        images, labels = self.test_images[chosen], self.data.y_test[chosen]
        threats = {
            "fgsm": attacks.FGSM(epsilon=settings.eval_epsilon),
            "pgd": attacks.PGD(
                epsilon=settings.eval_epsilon,
                step_size=settings.eval_step_size,
                steps=settings.eval_steps,
                restarts=settings.eval_restarts,
                seed=settings.seed,
            ),
        }
        accuracy = {
            "clean": inference.accuracy_and_loss(self.network, self.test_images, self.data.y_test)[
                0
            ]
        }
        for name, attack in threats.items():
            crafted = _in_batches(attack, self.network, images, labels, settings.batch_size)
            accuracy[name] = inference.accuracy_and_loss(self.network, crafted, labels)[0]
        step = int(self.model.optimizer.iterations)
        for name, value in accuracy.items():
            writer.scalar(f"result/{name}", value, step)
        triple = side_by_side(images[:1], crafted[:1], settings.eval_epsilon)
        writer.image("attack/clean_adversarial_difference", triple, step)
        return {
            **self.description,
            "versions": {"keras": keras.__version__, "python": platform.python_version()},
            "accuracy": accuracy,
            "attacked_examples": len(images),
            "poisoned_batches": self.poison.injected,
            "collapse": self.watch.events,
            "worst_after_poison": self.watch.worst_accuracy,
            "collapsed": self.watch.collapsed,
            "hessian": self._final_spectrum(step),
            "hessian_history": self.hessian.history,
            "hessian_not_finite": self.hessian.not_finite,
            "seconds_per_step": self.clock.seconds_per_step,
            "steps": step,
            "history": self.state.history,
        }

    def _final_spectrum(self, step):
        """The Hessian's record of the last step; `None` where none is asked for, or finite."""

        if not self.settings.hessian_examples or step in self.hessian.not_finite:
            return None
        history = self.hessian.history
        is_there = history and history[-1]["iteration"] == step
        return history[-1] if is_there else self.hessian.measure()


def _make(folder):
    """Makes a run's folder where there is none, and refuses one that cannot be written."""
    try:
        atomic_io.try_folder(folder)
    except OSError as error:
        raise ValueError(
            f"out_dir {folder!r} cannot be written ({error.strerror}); choose another folder."
        ) from error


def _refuse_held(folder):
    if any(name.startswith(("state.", "result.")) for name in os.listdir(folder)):
        raise ValueError(
            f"out_dir {folder!r} already holds a run; pass --resume to go on with it, or choose "
            "another folder."
        )


def _finished_result(folder, description):
    """The result of a finished run, `None` if there is none; refuses that of another run."""
    path = os.path.join(folder, results.RESULT)
    if not os.path.exists(path):
        return None
    mend = "remove the file to measure the network again from the last state"
    _, result = results.finished(folder, results.SHOWN, mend)
    found, wanted = (
        {"backend": run["backend"], **run["settings"]} for run in (result, description)
    )
    fingerprint.refuse_other(
        path, "a finished run", found, wanted, "choose another folder or the same settings"
    )
    return result


def _scaled(images):
    return images.astype("float32") / np.float32(255)


def _identity(settings):
    """The settings that decide the result."""
    values = dataclasses.asdict(settings)
    return {name: value for name, value in values.items() if name not in ASIDE}


def _training_attack(settings):
    if settings.attack == "fgsm":
        return attacks.FGSM(epsilon=settings.epsilon)
    if settings.attack == "pgd":
        return attacks.PGD(
            epsilon=settings.epsilon,
            step_size=settings.attack_step_size,
            steps=settings.attack_steps,
            seed=settings.seed,
        )
    return None


def _in_batches(attack, model, images, labels, size):
    parts = [
        attack(model, images[i : i + size], labels[i : i + size])
        for i in range(0, len(images), size)
    ]
    return np.concatenate(parts)


def _hparams(description):
    names = ("optimizer", "backend")
    values = {**{name: description[name] for name in names}, **description["settings"]}
    return {name: value for name, value in values.items() if value is not None}
