"""The parts of a method of training, and how two methods combine."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import keras

from keras_dep._internal.types import Array
from keras_dep.attacks.gradient_attack import GradientAttack
from keras_dep.data.source import Images
from keras_dep.training.loss_terms import LossTerm
from keras_dep.training.replay import Replay
from keras_dep.training.sharpness import SharpnessAware


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """The facts of a run on which a method may depend, such as its length and its seed.

    Args:
        epochs: epochs of the run.
        steps_per_epoch: ordinary batches per epoch.
        timesteps: steps `T` of the network.
        seed: seed of the run.
        rank_one: what `keras_dep.DEP` does with matrices with a side of 1 or 2.
        images: the training images, uint8 or float in [0, 1]: an array, or the images of a
            `keras_dep.data.Source`; or `None`.
        runs: the folder with the runs of other methods, or `None`.

    Example:

    >>> TrainingPlan(epochs=3, steps_per_epoch=10).steps
    30
    """

    epochs: int = 1
    steps_per_epoch: int = 1
    timesteps: int = 4
    seed: int = 0
    rank_one: str = "keep"
    images: Array | Images | None = None
    runs: str | None = None

    @property
    def steps(self) -> int:
        """Ordinary batches of the whole run."""
        return self.epochs * self.steps_per_epoch


# For `Defence(alone=...)` of DEP and its controls.
REMOVES = frozenset({"change the leading component of the gradient"})
# The parts that a run can have only once, with the words of the error message.
_SINGLE = {
    "neuron": "replace the neuron",
    "after_spikes": "act on the spikes",
    "encoder": "replace the encoder",
    "sharpness": "take a second pass per step",
    "replay": "update the weights several times per batch",
    "constraint": "constrain the kernels",
    "training_attack": "choose the attack of adversarial training",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Defence:
    """One method of training, as the parts that it adds to plain training. Every part is optional.

    Methods combine with `+`: `get("dep") + get("clip")`. Two that need the same part, or that
    share a word of `alone`, are refused.

    Args:
        name: its name in `keras_dep.defences.get`, with its options.
        neuron: `(timesteps=..., name=..., **constants) -> layer`, in place of `keras_dep.LIF`;
            constants are those of the settings: `tau`, `threshold`, `reset`, `surrogate`, ...
        after_spikes: `(timesteps=..., name=...) -> layer` on the spikes of each spiking layer.
        encoder: `(timesteps=..., name=...) -> layer` from images to frames `(T * batch, ...)`.
        loss_terms: terms added to the loss of the train step.
        sharpness: the ascent step of sharpness-aware minimisation.
        replay: several updates per batch; not together with loss terms or sharpness.
        constraint: the `keras.constraints.Constraint` of every kernel.
        training_attack: the attack of adversarial training, in place of the one of the settings.
        optimizer: `(inner_optimizer, plan) -> optimizer`, a wrapper; `plan` is a `TrainingPlan`.
            Of `a + b` the gradient passes through the wrapper of `a` first.
        callbacks: `(network, plan) -> list of keras.callbacks.Callback`. Those with `get_state` and
            `set_state` are resumed with the run.
        settings: values that the method publishes for fields of
            `keras_dep.experiments.Settings`, for example `{"weight_decay": 0.0}`.
        needs: methods whose runs must be finished before, in the same folder of runs.
        alone: actions that only one method of a run may take, in words that complete "both ...".

    Raises:
        ValueError: at `+`, two methods that do not combine; one line with the reason.

    Example:

    >>> import keras_dep
    >>> (keras_dep.defences.get("sgd") + keras_dep.defences.get("dep")).name
    'dep'
    """

    name: str = ""
    neuron: Callable[..., keras.layers.Layer] | None = None
    after_spikes: Callable[..., keras.layers.Layer] | None = None
    encoder: Callable[..., keras.layers.Layer] | None = None
    loss_terms: Sequence[LossTerm] = ()
    sharpness: SharpnessAware | None = None
    replay: Replay | None = None
    constraint: keras.constraints.Constraint | None = None
    training_attack: GradientAttack | None = None
    optimizer: (
        Callable[[keras.optimizers.Optimizer, TrainingPlan], keras.optimizers.Optimizer] | None
    ) = None
    callbacks: Callable[[keras.Model, TrainingPlan], list[keras.callbacks.Callback]] | None = None
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    needs: tuple[str, ...] = ()
    alone: frozenset[str] = frozenset()

    def __add__(self, other: Defence) -> Defence:
        self._check_combines(other)
        parts = {
            part: getattr(other, part) if getattr(self, part) is None else getattr(self, part)
            for part in _SINGLE
        }
        return Defence(
            # Plain SGD adds nothing.
            name="+".join(each.name for each in (self, other) if each._parts()) or self.name,
            **parts,
            loss_terms=(*self.loss_terms, *other.loss_terms),
            optimizer=_one_around_the_other(self.optimizer, other.optimizer),
            callbacks=_one_after_the_other(self.callbacks, other.callbacks),
            settings={**self.settings, **other.settings},
            needs=(*self.needs, *other.needs),
            alone=self.alone | other.alone,
        )

    def wrapped(
        self, optimizer: keras.optimizers.Optimizer, plan: TrainingPlan
    ) -> keras.optimizers.Optimizer:
        """The optimizer inside this method's wrapper, if it has one."""
        return optimizer if self.optimizer is None else self.optimizer(optimizer, plan)

    def _parts(self) -> dict[str, Any]:
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value for name, value in values.items() if value and name != "name"}

    def _check_combines(self, other: Defence) -> None:
        reasons = [
            why
            for part, why in _SINGLE.items()
            if getattr(self, part) is not None and getattr(other, part) is not None
        ]
        reasons += sorted(self.alone & other.alone)
        twice = {type(term).__name__ for term in self.loss_terms} & {
            type(term).__name__ for term in other.loss_terms
        }
        reasons += [f"add {name} to the loss" for name in sorted(twice)]
        reasons += [
            f"set {name}"
            for name in self.settings
            if other.settings.get(name, self.settings[name]) != self.settings[name]
        ]
        reasons = [f"both {why}" for why in reasons]
        for one, another in ((self, other), (other, self)):
            if one.replay is not None and another.sharpness is not None:
                reasons.append("both take several passes per batch")
            if one.replay is not None and another.loss_terms:
                reasons.append(
                    f"{another.name} prepares its loss terms once per batch, and {one.name} trains "
                    "on it several times"
                )
        if reasons:
            raise ValueError(
                f"methods {self.name} and {other.name} do not combine: {reasons[0]}; choose one of "
                "them."
            )


def _one_around_the_other(outer: Callable | None, inner: Callable | None) -> Callable | None:
    if outer is None or inner is None:
        return outer or inner
    return lambda optimizer, plan: outer(inner(optimizer, plan), plan)


def _one_after_the_other(first: Callable | None, second: Callable | None) -> Callable | None:
    if first is None or second is None:
        return first or second
    return lambda network, plan: [*first(network, plan), *second(network, plan)]
