"""Whose results a file holds."""


def refuse_other(path, what, found, wanted, mend):
    """Raises `ValueError` unless a file holds what was asked for.

    Args:
        path: the file.
        what: what it holds, for example `"a finished run"`.
        found: dictionary of what decided its content.
        wanted: dictionary of what decides what is asked for; others in `found` are nobody's matter.
        mend: what to do, in words.

    Raises:
        ValueError: a value differs; one line with the first that does.

    Example:

    >>> refuse_other("a.json", "a run", {"seed": 1, "machine": "b"}, {"seed": 1}, "take another")
    """
    for name, value in wanted.items():
        if found.get(name) != value:
            raise ValueError(
                f"{path} holds {what} with {name}={found.get(name)!r}; received {value!r}; {mend}."
            )
