"""An attack of a known class, made from the record of its settings."""

from __future__ import annotations

import dataclasses
import inspect
from typing import TYPE_CHECKING
from typing import Any
from typing import TypeVar

from keras_dep._internal import compilation
from keras_dep._internal.types import Record
from keras_dep.attacks import losses
from keras_dep.attacks.threat import Threat

if TYPE_CHECKING:
    from keras_dep.attacks.base import Attack

Kind = TypeVar("Kind", bound="Attack")


def rebuilt(kind: type[Kind], config: Record) -> Kind:
    """The attack of a class that a record describes.

    Constructor arguments are taken from the record by name; all other entries must agree with the
    attack that they make.

    Args:
        kind: the class.
        config: what `get_config` of such an attack gave, also after a round trip through JSON.

    Returns:
        An attack of this class.

    Raises:
        ValueError: a missing argument, or an entry that such an attack does not have.
    """
    names = _arguments(kind)
    given = {name: config[name] for name in names if name in config}
    if "threat" in names:
        fields = [field.name for field in dataclasses.fields(Threat) if field.name in config]
        given["threat"] = Threat(**{name: _as_tuple(config[name]) for name in fields})
    try:
        attack = kind(**given)
    except TypeError as error:
        raise ValueError(
            f"config must give {', '.join(names)} of a {kind.__name__}; received "
            f"{', '.join(config)}: {error}; let its get_config give them, or write a from_config."
        ) from error
    known = attack.get_config()
    for name, value in config.items():
        if name not in known or _as_tuple(known[name]) != _as_tuple(value):
            raise ValueError(
                f"config must describe a {kind.__name__}, which {', '.join(names)} decide; "
                f"received {name}={value!r}, where they give {known.get(name)!r}."
            )
    return attack


def check_complete(attack: Attack) -> None:
    """Checks that `from_config` of an attack's `get_config` makes the same attack again.

    Args:
        attack: the attack.

    Raises:
        ValueError: an attribute that the record does not restore.
    """
    again = type(attack).from_config(attack.get_config())
    for name, value in vars(attack).items():
        if _comparable(name, value) != _comparable(name, vars(again).get(name)):
            raise ValueError(
                f"{type(attack).__name__}.get_config must give all that decides the attack; "
                f"received one whose from_config loses {name}; add it to get_config."
            )


def _comparable(name: str, value: Any) -> Any:
    # An object is another one after the round trip.
    return losses.config(value) if name == "loss" else compilation.value(value)


def _arguments(kind: type) -> list[str]:
    """Names of the constructor's arguments, with those of its bases that `**kwargs` takes."""
    names: list[str] = []
    for base in kind.__mro__:
        if "__init__" not in vars(base):
            continue
        parameters = list(inspect.signature(vars(base)["__init__"]).parameters.values())[1:]
        # A subclass fills positional arguments of its bases by itself.
        taken = (inspect.Parameter.KEYWORD_ONLY,) if names else _NAMED
        names += [each.name for each in parameters if each.kind in taken]
        if not any(each.kind is each.VAR_KEYWORD for each in parameters):
            break
    return list(dict.fromkeys(names))


_NAMED = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def _as_tuple(value: Any) -> Any:
    return tuple(map(_as_tuple, value)) if isinstance(value, (list, tuple)) else value
