"""Refuses files that hold results of other settings."""

import os
from collections.abc import Mapping
from typing import Any


def refuse_other(
    path: str | os.PathLike,
    what: str,
    found: Mapping[str, Any],
    wanted: Mapping[str, Any],
    mend: str,
) -> None:
    """Raises `ValueError` unless a file was made with the wanted settings.

    Args:
        path: the file.
        what: its content in words, for example `"a finished run"`.
        found: the settings recorded in the file.
        wanted: the wanted settings; other keys of `found` are ignored.
        mend: advice for the error message.

    Raises:
        ValueError: a value differs; the message names the first one.

    Example:

    >>> refuse_other("a.json", "a run", {"seed": 1, "machine": "b"}, {"seed": 1}, "take another")
    """
    for name, value in wanted.items():
        if found.get(name) != value:
            raise ValueError(
                f"{path} holds {what} with {name}={found.get(name)!r}; received {value!r}; {mend}."
            )
