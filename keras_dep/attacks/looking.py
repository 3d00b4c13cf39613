"""The gradient that a search looks at: compiled by itself, or within a train step."""

import weakref

import numpy as np
from keras import ops

from keras_dep import _backend
from keras_dep._internal import compilation
from keras_dep.attacks.gradient_estimators import Estimator
from keras_dep.attacks.randomness import random_variables

# Further apart than one pass through a model can draw.
DRAWS_PER_LOOK = 4096


def looking(attack, model):
    """A function `(x, y) -> (gradient, outputs)` of an attack's objective, for one search.

    Averaged over the attack's samples. What is compiled for it is compiled once for all attacks
    that maximise the same and derive spikes alike, until a constant of the model changes.

    Args:
        attack: a `GradientAttack`.
        model: a built `keras.Model`.
    """
    rule, variables = attack._rule, random_variables(model)
    both, states = _compiled(attack, model), [ops.convert_to_numpy(v) for v in variables]

    def once(x, y, numbers, memory, shift):
        for variable, (seed, count) in zip(variables, states):
            variable.assign(np.array([seed, int(count) + shift], variable.dtype))
        memory = rule.start(model, x) if memory is None else memory
        slope, _, (memory, outputs) = both(x, y, numbers, memory)
        return slope, outputs, memory

    return _averaged(attack, once)


def looking_in_step(attack, model, gradient):
    """As `looking`, for the train step of a `_backend.TransformedStep`.

    Args:
        attack: a `GradientAttack`.
        model: the network to ask.
        gradient: the function that the step hands to `transform_batch`.
    """
    both, variables = _compiled(attack, model), random_variables(model)

    def once(x, y, numbers, memory, shift):
        def moved(read):
            states = [(variable, read(variable)) for variable in variables]
            return [(v, state + ops.convert_to_tensor([0, shift], v.dtype)) for v, state in states]

        slope, _, (memory, outputs) = gradient(both, x, y, (numbers, memory), moved)
        return slope, outputs, memory

    return _averaged(attack, once)


def defines_last(kind, name, *others):
    """Whether a class, or one it derives from, gave `name` no earlier than the other names.

    Who overrides one of the others alone may break what `name` says about them.
    """
    ranks = [next(i for i, c in enumerate(kind.__mro__) if n in vars(c)) for n in (name, *others)]
    return ranks[0] == min(ranks)


def _averaged(attack, once):
    """Passes counted, memory handed on from pass to pass, and gradients averaged over samples."""
    rule, passes = attack._rule, 0
    # One trace fewer where there is nothing to remember.
    memory = [] if type(rule).start is Estimator.start else None

    def look(x, y, again=False):
        nonlocal passes, memory
        # Only some backends count on by themselves between passes.
        passes += 1
        numbers = rule.again() if again else rule.numbers()
        slope, outputs, memory = once(x, y, numbers, memory, passes * DRAWS_PER_LOOK)
        return slope, outputs

    def average(x, y):
        seen = [look(x, y, again=sample > 0) for sample in range(attack.samples)]
        return [sum(parts) / attack.samples for parts in zip(*seen)]

    return look if attack.samples == 1 else average


def _compiled(attack, model):
    rule, objective = attack._rule, attack.objective
    proxy = weakref.proxy(model)

    def build(traced):
        def ask(x, numbers, memory):
            memory = rule.start(proxy, x) if memory is None else memory
            found = rule.ask(proxy, x, numbers, memory)
            traced()
            return found

        return _backend.gradient_and_outputs(proxy, objective, ask)

    return compilation.compiled_once(model, (_maximised(attack), rule.family()), build)


def _maximised(attack):
    """A hashable value that two attacks share only where their objectives compute the same."""
    kind = type(attack)
    if "objective" not in vars(attack) and defines_last(kind, "_maximises", "objective"):
        return attack._maximises()
    return kind, kind.objective, compilation.value(vars(attack))
