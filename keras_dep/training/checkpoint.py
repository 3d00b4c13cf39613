"""Taking and restoring the state of a training run, which `state_file` keeps on the disk."""

import itertools
from collections.abc import Iterable
from typing import Any

import keras

from keras_dep._internal.types import Array
from keras_dep._internal.types import Record
from keras_dep.training.state_file import State


def snapshot(model: keras.Model) -> dict[str, Array]:
    """Copies the variables of a compiled model and of its optimizer into arrays.

    Returns:
        Dict from `"<owner>/<index>/<path>"` to array, where the owner is `model` or `optimizer`,
        the index counts over both, and the path is Keras' own.

    Example:

    >>> inputs = keras.Input((2,))
    >>> model = keras.Model(inputs, keras.layers.Dense(3, name="logits")(inputs))
    >>> model.compile("sgd")
    >>> list(snapshot(model))[:2]
    ['model/0/logits/kernel', 'model/1/logits/bias']
    """
    return {
        name: keras.ops.convert_to_numpy(variable.value)
        for name, variable in _variables(model).items()
    }


def restore(model: keras.Model, state: State, path: str) -> None:
    """Assigns a state's variables to a model and its optimizer, after checking that they fit.

    Args:
        model: built and compiled; its optimizer is built here if needed.
        state: the `State`.
        path: where it comes from, for the message.

    Raises:
        ValueError: the state belongs to another model or optimizer; nothing was assigned.
    """
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    received = snapshot(model)
    _refuse_difference(path, "model", state.variables, received)
    optimizer = type(model.optimizer).__name__
    if state.optimizer != optimizer:
        raise ValueError(
            f"{path} holds the state of the optimizer {state.optimizer}; received {optimizer}; "
            "compile the model with the same optimizer."
        )
    _refuse_difference(path, "optimizer", state.variables, received)
    for variable, array in zip(_variables(model).values(), state.variables.values(), strict=True):
        variable.assign(array)


def check_ready(model: keras.Model) -> None:
    """Raises `ValueError` unless a model is built and compiled."""
    if not model.built or getattr(model, "optimizer", None) is None:
        missing = "built" if not model.built else "compiled"
        raise ValueError(
            f"restore needs a built and compiled model; received {model.name!r}, not {missing}; "
            "call it on one batch, or compile it, first."
        )


def check_same_run(state: State, path: str, metadata: Record, counters: Iterable[str]) -> None:
    """Raises `ValueError` unless a state has these metadata and counters of these names."""
    if state.metadata != metadata:
        name, saved, received = _first_difference("metadata", state.metadata, metadata)
        raise ValueError(
            f"{path} holds the state of a run with {name}={saved!r}; received {received!r}; "
            "choose another path or the same settings."
        )
    if set(state.counters) != set(counters):
        raise ValueError(
            f"{path} holds the counters of {sorted(state.counters)}; received {sorted(counters)}; "
            "pass the same callbacks."
        )


def _first_difference(name: str, saved: Any, received: Any) -> tuple[str, Any, Any]:
    if not (isinstance(saved, dict) and isinstance(received, dict)):
        return name, saved, received
    pairs = {
        key: (saved.get(key, "absent"), received.get(key, "absent")) for key in saved | received
    }
    key = next(key for key, (old, new) in pairs.items() if old != new)
    return _first_difference(f"{name}.{key}", *pairs[key])


def _variables(model: keras.Model) -> dict[str, Any]:
    """The variables of a model, then those that its optimizer alone has, in Keras' order."""
    owned = {id(variable): ("model", variable) for variable in model.variables}
    for variable in model.optimizer.variables:
        owned.setdefault(id(variable), ("optimizer", variable))
    return {
        f"{owner}/{index}/{variable.path}": variable
        for index, (owner, variable) in enumerate(owned.values())
    }


def _refuse_difference(
    path: str, owner: str, saved: dict[str, Array], received: dict[str, Array]
) -> None:
    # Paths are not compared: Keras numbers layers anew in every process.
    sides = _entries(owner, saved), _entries(owner, received)
    pairs = itertools.zip_longest(*sides, fillvalue=("no variable there", ""))
    for (old_path, old), (new_path, new) in pairs:
        if old != new:
            raise ValueError(
                f"{path} holds the state of another {owner}: it has {old_path}{old}; received "
                f"{new_path}{new}; build the same {owner} or choose another path."
            )


def _entries(owner: str, arrays: dict[str, Array]) -> Iterable[tuple[str, str]]:
    """Path, and dtype with shape, of each variable of an owner."""
    for name, array in arrays.items():
        of, _, path = name.split("/", 2)
        if of == owner:
            yield path, f" {array.dtype.name}{list(array.shape)}"
