"""One labelled recording of an archive."""

from typing import NamedTuple

from keras_dep._internal.types import Array


class Recording(NamedTuple):
    """A labelled recording.

    Attributes:
        name: its name, unique in its split.
        label: its class, from 0 on.
        events: structured array `(N,)` with the fields `t`, `x`, `y`, `p`.
    """

    name: str
    label: int
    events: Array
