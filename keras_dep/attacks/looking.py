"""The gradient that a search follows: compiled by itself, or within a train step."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable
from collections.abc import Hashable
from collections.abc import Sequence
from typing import TYPE_CHECKING

import keras
import numpy as np
from keras import ops

from keras_dep import _backend
from keras_dep._internal import compilation
from keras_dep._internal import keras_internals
from keras_dep._internal.types import Tensor
from keras_dep.attacks import losses
from keras_dep.attacks.gradient_estimators import Estimator

if TYPE_CHECKING:
    from keras_dep.attacks.gradient_attack import GradientAttack
    from keras_dep.attacks.gradient_attack import Look
    from keras_dep.attacks.gradient_estimators.base import Memory

    Numbers = Sequence[float | Tensor]

# More random numbers than one pass through a model draws.
DRAWS_PER_LOOK = 4096


def looking(attack: GradientAttack, model: keras.Model) -> Look:
    """The gradient of an attack's objective, for one search.

    It is averaged over the attack's samples. Attacks with equal objectives and rules for spikes
    share one compiled gradient, which is compiled again when a constant of the model has changed.

    Args:
        attack: the attack.
        model: a built `keras.Model`.

    Returns:
        A function `(x, y) -> (gradient, outputs)`.
    """
    rule, variables = attack._rule, keras_internals.random_states(model)
    both, states = _compiled(attack, model), [ops.convert_to_numpy(v) for v in variables]

    def once(
        x: Tensor, y: Tensor, numbers: Numbers, memory: Memory | None, shift: int
    ) -> tuple[Tensor, Tensor, Memory]:
        for variable, (seed, count) in zip(variables, states):
            variable.assign(np.array([seed, int(count) + shift], variable.dtype))
        memory = rule.start(model, x) if memory is None else memory
        return both(x, y, numbers, memory)

    return _averaged(attack, once)


def looking_in_step(attack: GradientAttack, model: keras.Model, gradient: Callable) -> Look:
    """As `looking`, within the train step of a `_backend.TransformedStep`.

    Args:
        attack: the attack.
        model: the network that is trained.
        gradient: the function that the step gives to `transform_batch`.

    Returns:
        A function `(x, y) -> (gradient, outputs)`.
    """
    both, variables = _compiled(attack, model), keras_internals.random_states(model)

    def once(
        x: Tensor, y: Tensor, numbers: Numbers, memory: Memory | None, shift: int
    ) -> tuple[Tensor, Tensor, Memory]:
        def moved(read: Callable) -> list[tuple[Tensor, Tensor]]:
            states = [(variable, read(variable)) for variable in variables]
            return [(v, state + ops.convert_to_tensor([0, shift], v.dtype)) for v, state in states]

        return gradient(both, x, y, (numbers, memory), moved)

    return _averaged(attack, once)


def defines_last(kind: type, name: str, *others: str) -> bool:
    """Whether a class inherits `name` from a class at least as derived as those of the others.

    A class that overrides one of the others alone may break what `name` says about them.
    """
    ranks = [next(i for i, c in enumerate(kind.__mro__) if n in vars(c)) for n in (name, *others)]
    return ranks[0] == min(ranks)


def _averaged(attack: GradientAttack, once: Callable) -> Look:
    """Counts passes, hands memory from pass to pass, and averages gradients over samples."""
    rule, passes = attack._rule, 0
    # One trace fewer for a rule without memory.
    memory: Memory | None = [] if type(rule).start is Estimator.start else None

    def look(x: Tensor, y: Tensor, again: bool = False) -> tuple[Tensor, Tensor]:
        nonlocal passes, memory
        # Only some backends advance their random states between passes.
        passes += 1
        numbers = rule.again() if again else rule.numbers()
        slope, outputs, memory = once(x, y, numbers, memory, passes * DRAWS_PER_LOOK)
        return slope, outputs

    def average(x: Tensor, y: Tensor) -> list[Tensor]:
        seen = [look(x, y, again=sample > 0) for sample in range(attack.samples)]
        return [sum(parts) / attack.samples for parts in zip(*seen)]

    return look if attack.samples == 1 else average


def _compiled(attack: GradientAttack, model: keras.Model) -> Callable:
    def build(traced: Callable) -> Callable:
        # A copy: later shapes are traced too, when the attack may have other attributes.
        rule, objective = attack._rule, copy.copy(attack).objective
        proxy = weakref.proxy(model)

        def ask(
            x: Tensor, numbers: Numbers, memory: Memory | None
        ) -> tuple[Tensor, Tensor, Memory]:
            memory = rule.start(proxy, x) if memory is None else memory
            answers, (memory, outputs) = rule.ask(proxy, x, numbers, memory)
            traced()
            return answers, outputs, memory

        return _backend.gradient_and_outputs(proxy, objective, ask)

    return compilation.compiled_once(model, (_maximised(attack), attack._rule.family()), build)


def _maximised(attack: GradientAttack) -> Hashable:
    """A hashable value that two attacks share only if their objectives compute the same."""
    kind = type(attack)
    if "objective" not in vars(attack) and defines_last(kind, "_maximises", "objective"):
        return attack._maximises()
    return kind, kind.objective, compilation.value(vars(attack)), losses.key(attack.loss)
