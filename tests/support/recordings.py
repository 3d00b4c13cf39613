"""Recordings of event cameras, written by the description of their formats."""

import struct
import zipfile

import numpy as np

from keras_dep.data.events import dvs_cifar10
from keras_dep.data.events.framing import EVENT


def made_events(count, seed=0, side=128, start=1000, duration=50_000):
    rng = np.random.default_rng(seed)
    events = np.zeros(count, EVENT)
    events["t"] = start + np.sort(rng.integers(0, duration, count))
    events["x"], events["y"] = rng.integers(0, side, (2, count))
    events["p"] = rng.integers(0, 2, count)
    return events


def write_aedat2(path, events, external=0):
    """An AEDAT 2.0 file of a DVS128, with some external signals between its events."""
    lines = ["!AER-DAT2.0", " This is a raw AE data file", " # AEChip: DVS128"]
    content = "".join(f"#{line}\r\n" for line in lines).encode()
    for index, (t, x, y, p) in enumerate(events.tolist()):
        if index < external:
            content += struct.pack(">Ii", 1 << 15, t)
        content += struct.pack(">Ii", (127 - x) << 8 | (127 - y) << 1 | (1 - p), t)
    path.write_bytes(content)


def write_aedat3(path, events, per_packet=7, invalid=0, special=True):
    """An AEDAT 3.1 file with packets of polarity events, and one of another type."""
    lines = ["!AER-DAT3.1", "Format: RAW", "Source 1: DVS128", "Start-Time: 2026", "!END-HEADER"]
    content = "".join(f"#{line}\r\n" for line in lines).encode()
    if special:
        content += struct.pack("<hhiiiiii", 0, 1, 8, 4, 0, 2, 2, 2) + bytes(16)
    for first in range(0, len(events), per_packet):
        part = events[first : first + per_packet].tolist()
        # A packet holds events of one overflow of the clock.
        for overflow in sorted({t >> 31 for t, *_ in part}):
            chosen = [event for event in part if event[0] >> 31 == overflow]
            count = len(chosen) + invalid
            header = 1, 1, 8, 4, overflow, count, count, len(chosen)
            content += struct.pack("<hhiiiiii", *header)
            for t, x, y, p in chosen:
                content += struct.pack("<Ii", x << 17 | y << 2 | p << 1 | 1, t & (2**31 - 1))
            # The lowest bit is 0: these count for nothing.
            content += struct.pack("<Ii", 3 << 17, 0) * invalid
    path.write_bytes(content)


def write_gesture_labels(path, spans):
    """The table of one recording: class from 1 on, first and last time."""
    lines = ["class,startTime_usec,endTime_usec", *(",".join(map(str, each)) for each in spans)]
    path.write_text("\n".join(lines) + "\n")


def write_dvs_cifar10(folder, numbers=(0, 99, 100), events=40):
    """The zip files of DVS-CIFAR10 with a few recordings each; returns them by name."""
    folder.mkdir(parents=True, exist_ok=True)
    made = {}
    for label, name in enumerate(dvs_cifar10.CLASSES):
        with zipfile.ZipFile(folder / f"{name}.zip", "w") as archive:
            for number in numbers:
                made[f"{name}_{number}"] = made_events(events, seed=1000 * label + number)
                path = folder / "recording.aedat"
                write_aedat2(path, made[f"{name}_{number}"])
                archive.write(path, f"{name}/cifar10_{name}_{number}.aedat")
                path.unlink()
    return made


def write_gestures(folder, train=("user01_led", "user02_lab"), test=("user24_led",), gestures=3):
    """The unpacked archive of DVS128 Gesture; returns its gestures as (label, events) by name."""
    folder.mkdir(parents=True, exist_ok=True)
    made = {}
    for split, trials in (("train", train), ("test", test)):
        names = "".join(f"{trial}.aedat\n" for trial in trials)
        (folder / f"trials_to_{split}.txt").write_text(names)
        for seed, trial in enumerate(trials):
            events = made_events(60, seed, duration=1000 * (gestures + 1))
            write_aedat3(folder / f"{trial}.aedat", events)
            spans = []
            for number in range(gestures):
                # Labels count from 1; gaps lie between the gestures.
                start = 1000 + 1000 * number + 100
                label, end = (seed + 4 * number) % 11 + 1, start + 800
                spans.append((label, start, end))
                chosen = (events["t"] >= start) & (events["t"] < end)
                made[f"{trial}_{number}"] = label - 1, events[chosen]
            write_gesture_labels(folder / f"{trial}_labels.csv", spans)
    return made
