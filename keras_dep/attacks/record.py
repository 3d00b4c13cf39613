"""An attack of a known class, from the record of its settings."""

import dataclasses
import inspect

from keras_dep._internal import compilation
from keras_dep.attacks.threat import Threat


def rebuilt(kind, config):
    """The attack of a class that a record describes.

    Arguments are taken from the record by their names; what else stands in it must follow.

    Raises:
        ValueError: an entry that such an attack does not have.
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


def check_complete(attack):
    """Raises `ValueError` unless `from_config` of an attack's `get_config` makes the same again."""
    again = type(attack).from_config(attack.get_config())
    for name, value in vars(attack).items():
        if compilation.value(value) != compilation.value(vars(again).get(name)):
            raise ValueError(
                f"{type(attack).__name__}.get_config must give all that decides the attack; "
                f"received one whose from_config loses {name}; add it to get_config."
            )


def _arguments(kind):
    """Names of what a class is made of, with those of its bases where it hands on the rest."""
    names = []
    for base in kind.__mro__:
        if "__init__" not in vars(base):
            continue
        parameters = list(inspect.signature(base.__init__).parameters.values())[1:]
        # Positions a class fills by itself.
        taken = (inspect.Parameter.KEYWORD_ONLY,) if names else _NAMED
        names += [each.name for each in parameters if each.kind in taken]
        if not any(each.kind is each.VAR_KEYWORD for each in parameters):
            break
    return list(dict.fromkeys(names))


_NAMED = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def _as_tuple(value):
    return tuple(map(_as_tuple, value)) if isinstance(value, (list, tuple)) else value
