"""Frames against counting by hand; the peers are compared in `tests/peers`."""

import math

import numpy as np
import pytest

from keras_dep.data import events
from keras_dep.data.events.framing import EVENT

HEIGHT, WIDTH = 5, 7


def recording(count, seed=0, duration=1000):
    """Random events, some at the same time or place."""
    rng = np.random.default_rng(seed)
    found = np.zeros(count, EVENT)
    found["t"] = 50_000 + np.sort(rng.integers(0, duration, count))
    # The first and the last event span the whole duration, as the peers assume.
    found["t"][[0, -1]] = 50_000, 50_000 + duration
    found["x"], found["y"] = rng.integers(0, WIDTH, count), rng.integers(0, HEIGHT, count)
    found["p"] = rng.integers(0, 2, count)
    return found


def counted(chosen, height=HEIGHT, width=WIDTH):
    """One frame, event by event."""
    frame = np.zeros((height, width, 2), int)
    for event in chosen:
        frame[event["y"], event["x"], event["p"]] += 1
    return frame


@pytest.mark.parametrize("timesteps", [1, 4, 7])
def test_parts_hold_every_event_once(timesteps):
    made = recording(103)
    by_count = events.frames(made, (HEIGHT, WIDTH), timesteps)
    each = 103 // timesteps
    edges = [*range(0, each * timesteps, each), 103]
    for frame, first, last in zip(by_count, edges, edges[1:]):
        np.testing.assert_array_equal(frame, counted(made[first:last]))
    by_time = events.frames(made, (HEIGHT, WIDTH), timesteps, by="time")
    step, t = 1000 // timesteps, made["t"] - 50_000
    for number, frame in enumerate(by_time):
        last = math.inf if number == timesteps - 1 else (number + 1) * step
        np.testing.assert_array_equal(frame, counted(made[(t >= number * step) & (t < last)]))
    assert by_count.dtype == by_time.dtype == np.int32
    assert by_count.sum() == by_time.sum() == 103
    # Time needs no order.
    shuffled = np.random.default_rng(1).permutation(made)
    again = events.frames(shuffled, (HEIGHT, WIDTH), timesteps, by="time")
    np.testing.assert_array_equal(again, by_time)


def test_steps_of_a_given_length_are_cut_or_padded():
    made = recording(40)
    for by, per_frame in (("count", 16), ("time", 300)):
        full = events.frames(made, (HEIGHT, WIDTH), by=by, per_frame=per_frame)
        # The event at 1000 us lies in the fourth frame, 900 to 1200.
        assert len(full) == (3 if by == "count" else 4) and full.sum() == 40
        for number, frame in enumerate(full):
            place = np.arange(40) if by == "count" else made["t"] - 50_000
            np.testing.assert_array_equal(frame, counted(made[place // per_frame == number]))
        short = events.frames(made, (HEIGHT, WIDTH), 2, by=by, per_frame=per_frame)
        np.testing.assert_array_equal(short, full[:2])
        long = events.frames(made, (HEIGHT, WIDTH), 6, by=by, per_frame=per_frame)
        np.testing.assert_array_equal(long[: len(full)], full)
        assert len(long) == 6 and not long[len(full) :].any()


def test_pixels_of_a_larger_sensor_are_added_up():
    made = recording(200)
    full = events.frames(made, (HEIGHT, WIDTH), 3)
    small = events.frames(made, (2, 3), 3, sensor=(HEIGHT, WIDTH))
    expected = np.zeros_like(small)
    for y in range(HEIGHT):
        for x in range(WIDTH):
            expected[:, y * 2 // HEIGHT, x * 3 // WIDTH] += full[:, y, x]
    np.testing.assert_array_equal(small, expected)


@pytest.mark.parametrize("by", ["count", "time"])
def test_recordings_of_few_events_have_empty_frames(by):
    none = events.frames(recording(4)[:0], (2, 3), 5, by=by, sensor=(HEIGHT, WIDTH))
    assert none.shape == (5, 2, 3, 2) and not none.any()
    one = events.frames(recording(4)[:1], (HEIGHT, WIDTH), 5, by=by)
    assert one[-1].sum() == 1 and not one[:-1].any()


def test_saturated_pixels():
    counts = np.arange(6).reshape(1, 3, 1, 2)
    assert events.pixels(counts).ravel().tolist() == [0, *[255] * 5]
    assert events.pixels(counts, 3).ravel().tolist() == [0, 85, 170, 255, 255, 255]
    assert events.pixels(counts, 3).dtype == np.uint8


WRONG = [
    ({"by": "events"}, "by must be one of count, time; received 'events'"),
    ({"size": (5,)}, r"size must be \(height, width\); received \(5,\)"),
    ({"size": (5, 0)}, "size must be at least 1; received 0"),
    ({"size": (9, 9), "sensor": (5, 9)}, r"sensor must be at least size=\(9, 9\)"),
    ({"timesteps": None}, "timesteps or per_frame must be given"),
    ({"timesteps": 0}, "timesteps must be at least 1; received 0"),
    ({"per_frame": 2.5}, "per_frame must be a whole number"),
    ({"size": (4, 7)}, "events must have y of 0 to 3, inside the sensor; received y=4"),
    ({"p": -1}, r"events must have p of 0 and 1; received p=255"),
    ({"drop": "p"}, r"events must have the fields t, x, y, p; received none named \['p'\]"),
    ({"cut": "t"}, r"events must have fields of one length \(N,\); received \(29,\), \(30,\)"),
    ({"timesteps": None, "by": "time", "per_frame": 1, "t": 2e9}, "at most 1000000 frames"),
]


@pytest.mark.parametrize("change, words", WRONG)
def test_bad_arguments_are_one_line(change, words):
    made = {name: recording(30)[name] for name in EVENT.names}
    given = {"size": (HEIGHT, WIDTH), "timesteps": 2}
    for key, value in change.items():
        if key == "drop":
            del made[value]
        elif key == "cut":
            made[value] = made[value][1:]
        elif key in made:
            made[key][-1] = np.asarray(value).astype(made[key].dtype)
        else:
            given[key] = value
    with pytest.raises(ValueError, match=words) as caught:
        events.frames(made, **given)
    assert "\n" not in str(caught.value)
