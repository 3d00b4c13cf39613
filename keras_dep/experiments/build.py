"""Builds the parts of a run from its settings and its method: network, optimizer, loss, data."""

import dataclasses
import math
import os
import random
import warnings
from collections.abc import Callable

import keras

from keras_dep import attacks
from keras_dep import distribution
from keras_dep import losses
from keras_dep import models
from keras_dep import training
from keras_dep._internal.types import ArrayLike
from keras_dep.attacks.gradient_attack import GradientAttack
from keras_dep.data import loader
from keras_dep.data import sources
from keras_dep.defences import Defence
from keras_dep.defences import TrainingPlan
from keras_dep.experiments.settings import Settings
from keras_dep.layers.lif import CONSTANTS
from keras_dep.optimizers import CoupledWeightDecay
from keras_dep.training import adversarial

JIT = {"auto": "auto", "on": True, "off": False}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Assembly:
    """The arguments of `fit`.

    Args:
        network: the network from images to logits, which is saved, attacked and measured.
        model: the compiled model that `fit` trains: the network itself, or a train step around it
            that perturbs its batch.
        training_data: what `fit` reads: the batches, with marks for such a train step.
        attack: the attack of training, or `None`.
        callbacks: the callbacks of the method.
    """

    network: keras.Model
    model: keras.Model
    training_data: keras.utils.PyDataset
    attack: GradientAttack | None
    callbacks: list[keras.callbacks.Callback]


def load_data(settings: Settings) -> sources.Dataset:
    """The data set of these settings; see `keras_dep.data.load`."""
    return sources.load(
        settings.dataset,
        data_dir=settings.data_dir,
        download=settings.download,
        train_examples=settings.train_examples,
        test_examples=settings.test_examples,
        framing=settings.framing,
    )


def assemble(
    settings: Settings,
    method: Defence,
    data: sources.Dataset,
    batches: loader.Batches,
    runs: str | None = None,
) -> Assembly:
    """Composes a run.

    Args:
        settings: the settings of the run, those of the method included (see `settings_of`).
        method: the method of training.
        data: the data set.
        batches: its ordinary batches, as `build_batches` gives them.
        runs: the folder with the runs of other methods, from which a method may read.

    Returns:
        The `Assembly`, its model compiled.

    Raises:
        ValueError: settings or a method that do not fit the data or the network.
    """
    plan = TrainingPlan(
        epochs=settings.epochs,
        steps_per_epoch=len(batches),
        timesteps=settings.timesteps,
        seed=settings.seed,
        rank_one=settings.rank_one,
        images=data.x_train,
        runs=runs,
    )
    network = build_network(settings, data, method)
    attack = training_attack(settings, method)
    replaces = settings.poison_mode == "replace" and settings.poison_count > 0
    model, training_data = network, batches
    # Settings refuse adversarial batches without an attack.
    if attack is not None and (settings.base == "adversarial" or replaces):
        training_data = adversarial.MarkedBatches(
            batches, settings.base, attack, replaced=settings.poison if replaces else None
        )
    replay = method.replay
    if isinstance(replay, training.FreeAdversarial):
        # The perturbation goes on from batch to batch, and has the size of the largest.
        replay = dataclasses.replace(replay, batch_size=settings.batch_size)
    parts = method.loss_terms or method.sharpness is not None or replay is not None
    if parts or training_data is not batches:
        model = training.DefendedTraining(
            network,
            attack if training_data is not batches else None,
            method.loss_terms,
            method.sharpness,
            replay,
            name="training",
        )
    workers = distribution.workers()
    model.compile(
        optimizer=build_optimizer(settings, method, plan),
        loss=build_loss(settings),
        metrics=[losses.MeanLogitAccuracy()],
        jit_compile=workers.compiles and JIT[settings.jit],
    )
    return Assembly(
        network=network,
        model=model,
        training_data=training_data,
        attack=attack,
        callbacks=method.callbacks(network, plan) if method.callbacks else [],
    )


def settings_of(settings: Settings, method: Defence) -> Settings:
    """Replaces settings by the values that a method publishes for them."""
    return dataclasses.replace(settings, **method.settings)


def build_batches(settings: Settings, data: sources.Dataset) -> loader.Batches:
    """The ordinary training batches of these settings."""
    return loader.Batches(
        data.x_train,
        data.y_train,
        batch_size=settings.batch_size,
        seed=settings.seed,
        augment=settings.augment,
        workers=_workers(settings, data),
        processes=settings.worker_processes,
    )


def evaluation_batches(settings: Settings, data: sources.Dataset) -> loader.Batches:
    """All test images in their order, for sets that do not fit into memory."""
    return loader.Batches(
        data.x_test,
        data.y_test,
        batch_size=min(settings.batch_size, len(data.x_test)),
        shuffle=False,
        drop_remainder=False,
        workers=_workers(settings, data),
    )


def build_network(
    settings: Settings, data: sources.Dataset, method: Defence | None = None
) -> keras.Model:
    """The untrained network of these settings and a method, for a data set."""
    method = method or Defence()
    _refuse_unsuited(settings, method)
    constants = {name: getattr(settings, name) for name in CONSTANTS}
    network = models.build(
        settings.model,
        # Of frames (T, H, W, 2), one frame.
        input_shape=data.image_shape[-3:],
        num_classes=data.num_classes,
        timesteps=settings.timesteps,
        neuron=_made_apart(method.neuron, settings.seed, **constants) or constants,
        encoder=_made_apart(method.encoder, settings.seed) or settings.encoder,
        normalization=settings.normalization,
        dropout=settings.dropout,
        spiking=settings.spiking,
        mean=data.mean,
        std=data.std,
        after_spikes=_made_apart(method.after_spikes, settings.seed),
    )
    if method.constraint is not None:
        for layer in network.layers:
            if hasattr(layer, "kernel_constraint"):
                layer.kernel_constraint = method.constraint
                layer.kernel.constraint = method.constraint
    return network


def build_optimizer(
    settings: Settings, method: Defence, plan: TrainingPlan
) -> keras.optimizers.Optimizer:
    """SGD with the paper's coupled weight decay, inside the wrapper of the method."""
    optimizer = keras.optimizers.SGD(settings.learning_rate, momentum=settings.momentum)
    if settings.weight_decay:
        optimizer = CoupledWeightDecay(optimizer, settings.weight_decay)
    elif distribution.workers().programs > 1:
        # A wrapper averages the gradients of the workers; without decay it does nothing else.
        optimizer = CoupledWeightDecay(optimizer, 0.0)
    return method.wrapped(optimizer, plan)


def build_loss(settings: Settings) -> keras.losses.Loss:
    """The training loss of these settings."""
    kind = {
        "mean_logit": losses.MeanLogitCrossentropy,
        "tet": losses.TemporalEfficientTraining,
    }[settings.loss]
    return kind(mse_weight=settings.mse_weight)


def training_attack(settings: Settings, method: Defence | None = None) -> GradientAttack | None:
    """The attack of adversarial or poisoned batches, or `None`."""
    if method is not None and method.training_attack is not None:
        return method.training_attack
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


def poison_attack(
    settings: Settings, attack: GradientAttack | None, network: keras.Model
) -> Callable[..., ArrayLike] | None:
    """The attack of inserted batches, by the protocol of the settings.

    Args:
        settings: what the run does.
        attack: the run's, as `training_attack` gives it.
        network: the network that it trains.

    Returns:
        Function `(model, x, y, seed) -> x_adv`, or `None` where inserted batches are clean: those
        of adversarial training.
    """
    if settings.base == "adversarial" or attack is None:
        return None
    if settings.poison_protocol == "pixel":
        return attack
    inner = attacks.FGSM(epsilon=0.0) if settings.poison_protocol == "clamp_only" else attack
    with warnings.catch_warnings():
        # Of what it measures; here it only makes images to train on.
        warnings.simplefilter("ignore")
        released = attacks.ReferenceCodeAttack(inner)
    # The model that `fit` trains may be a train step around the network.
    return lambda model, x, y, seed: released(network, x, y, seed=seed)


def learning_rate(settings: Settings, epoch: int) -> float:
    """The learning rate of an epoch, counted from 0."""
    if settings.schedule == "constant":
        return settings.learning_rate
    return 0.5 * settings.learning_rate * (1 + math.cos(math.pi * epoch / settings.epochs))


def _workers(settings, data):
    if settings.workers is not None:
        return settings.workers
    return 1 if data.in_memory else os.cpu_count() or 1


def _refuse_unsuited(settings, method):
    """Refuses settings under which a part of the method would have no place."""
    if not settings.spiking and (method.neuron or method.after_spikes):
        raise ValueError(
            f"spiking must be True for the method {method.name}; received False, the ANN "
            "counterpart; leave the method out."
        )
    if method.encoder and settings.encoder != "direct":
        raise ValueError(
            f"encoder must be 'direct' for the method {method.name}, which has its own; received "
            f"{settings.encoder!r}; leave one of them out."
        )


def _made_apart(make, seed, **constants):
    """A function that makes a layer of a method without shifting the draws of initial weights.

    Keras draws the seeds of layers without one from Python's generator, in the order of the layers.
    """
    if make is None:
        return None

    def made(**given):
        # The same layer draws the same in each run of a seed.
        state = random.getstate()
        random.seed(f"{seed} {given.get('name')}")
        try:
            return make(**{**constants, **given})
        finally:
            random.setstate(state)

    return made
