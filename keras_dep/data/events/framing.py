"""Frames of a recording: the number of events at each pixel, in each step."""

import dataclasses
from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np

from keras_dep._internal import validation
from keras_dep._internal.types import Array

# One event: time in microseconds, column, row, and polarity: 1 where it became brighter, else 0.
EVENT = np.dtype([("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("p", "u1")])
DIVISIONS = ("count", "time")
MOST_FRAMES = 1_000_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Framing:
    """How recordings become the frames that a network takes.

    Args:
        timesteps: frames per recording.
        by: `"count"` or `"time"`, see `frames`.
        side: height and width of the frames, at most those of the sensor.
        saturation: see `pixels`.

    Raises:
        ValueError: an argument outside its limits.

    Example:

    >>> events = {"t": [0, 4], "x": [1, 1], "y": [0, 3], "p": [1, 1]}
    >>> Framing(timesteps=1, side=2, saturation=2).of(events, sensor=(4, 4))[..., 1].tolist()
    [[[128, 0], [128, 0]]]
    """

    timesteps: int = 4
    by: str = "count"
    side: int = 128
    saturation: int = 8

    def __post_init__(self) -> None:
        validation.one_of("by", self.by, DIVISIONS)
        for name in ("timesteps", "side", "saturation"):
            validation.whole_number(name, getattr(self, name))

    def of(self, events: Array | Mapping[str, Array], sensor: Sequence[int]) -> Array:
        """The uint8 frames `(timesteps, side, side, 2)` of a recording.

        Args:
            events: as in `frames`.
            sensor: `(height, width)` of the sensor.

        Raises:
            ValueError: events or a sensor that `frames` refuses.
        """
        size = self.side, self.side
        return pixels(
            frames(events, size, self.timesteps, by=self.by, sensor=sensor), self.saturation
        )


def frames(
    events: Array | Mapping[str, Array],
    size: Sequence[int],
    timesteps: int | None = None,
    *,
    by: str = "count",
    per_frame: int | None = None,
    sensor: Sequence[int] | None = None,
) -> Array:
    """Counts the events of a recording per frame, pixel and polarity.

    Without `per_frame` the recording is divided into `timesteps` parts, of `N // timesteps` events
    or of `(t_last - t_first) // timesteps` microseconds each; the last part also takes the rest, so
    that no event is lost. This is the division of SpikingJelly; Tonic leaves the rest out.

    With `per_frame` each frame holds that many events or microseconds, counted from the first
    event. Then `timesteps` cuts later frames off, and frames behind the end of the recording are
    empty; without `timesteps` there are as many frames as hold all events.

    Args:
        events: a structured array or a dictionary with the fields `t` (microseconds), `x` (column),
            `y` (row) and `p` (0 darker, 1 brighter; also `bool`), each `(N,)`. Frames by count take
            the events in their order; frames by time accept any order.
        size: `(height, width)` of the frames.
        timesteps: number of frames, or `None` with `per_frame`.
        by: `"count"`, frames of equally many events, or `"time"`, frames of equal duration.
        per_frame: events or microseconds per frame, at least 1, or `None`.
        sensor: `(height, width)` of the sensor, at least `size`; default: `size`. Pixels of a
            larger sensor are added up: pixel `(y, x)` counts at `(y * height // sensor_height,
            x * width // sensor_width)`.

    Returns:
        int32 array `(frames, height, width, 2)`; channel 0 counts darker, channel 1 brighter
        events.

    Raises:
        ValueError: a field is missing, fields of different lengths, events outside the sensor, a
            polarity other than 0 and 1, or an argument outside its limits.

    Example:

    >>> events = {"t": [0, 1, 5, 9], "x": [0, 1, 1, 1], "y": [0, 0, 0, 0], "p": [1, 0, 1, 1]}
    >>> frames(events, size=(1, 2), timesteps=2)[..., 1].tolist()
    [[[1, 0]], [[0, 2]]]
    >>> frames(events, size=(1, 2), by="time", per_frame=3).sum(axis=(1, 2, 3)).tolist()
    [2, 1, 0, 1]
    """
    validation.one_of("by", by, DIVISIONS)
    height, width = _pair("size", size)
    sensor_height, sensor_width = _pair("sensor", size if sensor is None else sensor)
    if sensor_height < height or sensor_width < width:
        raise ValueError(
            f"sensor must be at least size={(height, width)}; received sensor="
            f"{(sensor_height, sensor_width)}; choose smaller frames."
        )
    if timesteps is None and per_frame is None:
        raise ValueError("timesteps or per_frame must be given; received neither.")
    for name, value in (("timesteps", timesteps), ("per_frame", per_frame)):
        if value is not None:
            validation.whole_number(name, value)
    t, x, y, p = _fields(events, sensor_height, sensor_width)
    index, found = _frame_numbers(t, by, timesteps, per_frame)
    inside = index < found
    place = (y * height // sensor_height) * width + x * width // sensor_width
    place = 2 * (index * height * width + place) + p
    counts = np.bincount(place[inside], minlength=found * height * width * 2)
    return counts.astype("int32").reshape(found, height, width, 2)


def pixels(counts: Array, saturation: int = 1) -> Array:
    """Converts event counts to uint8 pixels: 0 without events, 255 from `saturation` events on.

    Networks and attacks take pixels in [0, 1], which are these divided by 255. With `saturation=1`
    a frame is binary: it only tells where there were events.

    Args:
        counts: array of whole numbers of at least 0, any shape.
        saturation: count of the brightest pixel, at least 1.

    Returns:
        uint8 array of the same shape.

    Raises:
        ValueError: `saturation` is no whole number of at least 1.

    Example:

    >>> pixels(np.array([0, 1, 2, 9]), saturation=4).tolist()
    [0, 64, 128, 255]
    """
    validation.whole_number("saturation", saturation)
    return np.rint(np.minimum(counts, saturation) * (255 / saturation)).astype("uint8")


def as_pictures(images: Array) -> Array:
    """Images as they are, or the frames of recordings as pictures.

    Args:
        images: float array `(n, height, width, channels)`, or `(n, T, height, width, 2)`.

    Returns:
        The images, or `(n, height, T * width, 3)`: the frames from left to right, brighter events
        in red and darker ones in blue.

    Example:

    >>> as_pictures(np.zeros((2, 5, 8, 8, 2))).shape
    (2, 8, 40, 3)
    """
    if images.ndim != 5 or images.shape[-1] != 2:
        return images
    count, _, height, _, _ = images.shape
    strip = np.moveaxis(images, 1, 2).reshape(count, height, -1, 2)
    return np.stack([strip[..., 1], np.zeros_like(strip[..., 0]), strip[..., 0]], axis=-1)


def _frame_numbers(
    t: Array, by: str, timesteps: int | None, per_frame: int | None
) -> tuple[Array, int]:
    """The frame of each event, and the number of frames."""
    position = t - t.min() if by == "time" and len(t) else np.arange(len(t))
    if per_frame is None:
        # Checked by `frames`: one of the two is given.
        parts = int(timesteps or 1)
        extent = int(position.max(initial=0)) if by == "time" else len(t)
        step = extent // parts
        # A recording shorter than its frames: everything lies in the last one.
        index = position // step if step else np.full(len(t), parts - 1)
        return np.minimum(index, parts - 1), parts
    index = position // per_frame
    needed = int(index.max(initial=0)) + 1
    if timesteps is None and needed > MOST_FRAMES:
        raise ValueError(
            f"per_frame must give at most {MOST_FRAMES} frames; received per_frame={per_frame}, "
            f"which gives {needed}; give timesteps too, or a larger per_frame."
        )
    return index, needed if timesteps is None else timesteps


def _fields(
    events: Array | Mapping[str, Array], height: int, width: int
) -> tuple[Array, Array, Array, Array]:
    known = getattr(getattr(events, "dtype", None), "names", None) or events
    if missing := [name for name in EVENT.names or () if name not in known]:
        raise ValueError(f"events must have the fields t, x, y, p; received none named {missing}.")
    found = [np.asarray(events[name]).astype("int64") for name in ("t", "x", "y", "p")]
    t, x, y, p = found
    if t.ndim != 1 or any(each.shape != t.shape for each in found):
        shapes = ", ".join(str(each.shape) for each in found)
        raise ValueError(f"events must have fields of one length (N,); received {shapes}.")
    for name, values, limit in (("x", x, width), ("y", y, height), ("p", p, 2)):
        wrong = values[(values < 0) | (values >= limit)]
        if len(wrong):
            what = "0 and 1" if name == "p" else f"0 to {limit - 1}, inside the sensor"
            raise ValueError(f"events must have {name} of {what}; received {name}={wrong[0]}.")
    return t, x, y, p


def _pair(name: str, value: Sequence[int]) -> tuple[int, int]:
    if np.shape(value) != (2,):
        raise ValueError(f"{name} must be (height, width); received {value!r}.")
    height, width = value
    return validation.whole_number(name, height), validation.whole_number(name, width)
