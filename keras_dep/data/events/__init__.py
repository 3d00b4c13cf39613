"""Recordings of event cameras, and their frames.

A recording is a structured array of events, or a dictionary, with the fields `t` (microseconds),
`x` (column), `y` (row, from the top) and `p` (1 where a pixel became brighter, else 0).
"""

from keras_dep.data.events.framing import Framing
from keras_dep.data.events.framing import as_pictures
from keras_dep.data.events.framing import frames
from keras_dep.data.events.framing import pixels

__all__ = ["Framing", "as_pictures", "frames", "pixels"]
