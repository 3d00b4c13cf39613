"""The public archive of DVS128 Gesture: recordings in AEDAT 3.1 with tables of their gestures."""

import csv
import pathlib
from collections.abc import Iterator

from keras_dep.data.events import aedat
from keras_dep.data.events.recording import Recording
from keras_dep.data.tfds_files import RELEASES
from keras_dep.data.tfds_files import ArchiveError

# In the order of the tables' numbers, which count from 1.
CLASSES = (
    "hand_clapping",
    "right_hand_wave",
    "left_hand_wave",
    "right_hand_clockwise",
    "right_hand_counter_clockwise",
    "left_hand_clockwise",
    "left_hand_counter_clockwise",
    "forearm_roll",
    "drums",
    "guitar",
    "other",
)
ARCHIVE, FOLDER = "DvsGesture.tar.gz", "DvsGesture"
PAGE = RELEASES["dvs128_gesture"].page
_TRIALS = {"train": "trials_to_train.txt", "test": "trials_to_test.txt"}
_HEAD = ["class", "startTime_usec", "endTime_usec"]


def recordings(folder: pathlib.Path, split: str) -> Iterator[Recording]:
    """Yields the gestures of a split, recording by recording, in the order of the archive's lists.

    Each line of a table is one gesture: the events with `startTime_usec <= t < endTime_usec`. The
    archive gives 1176 and 288 gestures, as in SpikingJelly and snnTorch. Tonic's copy, which is cut
    otherwise and rounded to milliseconds, has 1077 and 264.

    Args:
        folder: the unpacked folder `DvsGesture`.
        split: `"train"` (users 1 to 23) or `"test"` (users 24 to 29).

    Yields:
        Each gesture as a `Recording`.

    Raises:
        ArchiveError: a list, a recording or a table is missing or damaged; one line that names the
            file.
    """
    for trial in _lines(folder / _TRIALS[split]):
        path = folder / trial
        spans = _spans(path.with_name(f"{path.stem}_labels.csv"))
        try:
            events = aedat.parse_aedat3(path.read_bytes(), str(path))
        except OSError as error:
            raise ArchiveError(_unreadable(path, error)) from error
        except ValueError as error:
            raise ArchiveError(str(error)) from error
        for number, (label, start, end) in enumerate(spans):
            chosen = (events["t"] >= start) & (events["t"] < end)
            yield Recording(f"{path.stem}_{number}", label, events[chosen])


def _spans(path: pathlib.Path) -> list[tuple[int, int, int]]:
    """The class of each gesture, from 0 on, and its first and last time."""
    rows = list(csv.reader(_lines(path)))
    if not rows or [each.strip() for each in rows[0]] != _HEAD:
        raise ArchiveError(
            f"{path} must begin with {','.join(_HEAD)}; received "
            f"{','.join(rows[0]) if rows else 'nothing'}; unpack {ARCHIVE} again."
        )
    spans = []
    for number, row in enumerate(rows[1:], 2):
        try:
            label, start, end = map(int, row)
        except ValueError:
            label = start = end = 0
        if not 1 <= label <= len(CLASSES) or start >= end:
            raise ArchiveError(
                f"{path} must have a class of 1 to {len(CLASSES)} and two growing times in each "
                f"line; received {','.join(row)!r} in line {number}; unpack {ARCHIVE} again."
            )
        spans.append((label - 1, start, end))
    return spans


def _lines(path: pathlib.Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ArchiveError(_unreadable(path, error)) from error


def _unreadable(path: pathlib.Path, error: Exception) -> str:
    reason = getattr(error, "strerror", None) or error
    return f"{path} cannot be read ({reason}); unpack {ARCHIVE} of {PAGE} again."
