"""Schedules hit the places they name, and the same ones every time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_dep import PoisonSchedule


@given(
    count=st.integers(0, 12),
    first=st.integers(0, 4),
    epoch=st.integers(0, 6),
    steps=st.integers(1, 9),
    position=st.sampled_from(["random", "first", "last"]),
    every=st.booleans(),
    seed=st.integers(0, 50),
)
def test_places(count, first, epoch, steps, position, every, seed):
    schedule = PoisonSchedule(
        first_epoch=first, count=count, position=position, every_epoch=every, seed=seed
    )
    batches, gaps = schedule.batches(epoch, steps), schedule.gaps(epoch, steps)
    active = epoch >= first if every else epoch == first
    assert len(batches) == (min(count, steps) if active else 0)
    assert len(gaps) == (count if active else 0)
    assert len(set(batches)) == len(batches)
    assert list(batches) == sorted(batches) and list(gaps) == sorted(gaps)
    assert all(0 <= place < steps for place in batches)
    assert all(0 <= place <= steps for place in gaps)
    assert schedule.gaps(epoch, steps) == gaps and schedule.batches(epoch, steps) == batches


def test_ends():
    last = PoisonSchedule(count=2, position="last")
    first = PoisonSchedule(count=2, position="first")
    assert last.batches(0, 5) == (3, 4) and last.gaps(0, 5) == (5, 5)
    assert first.batches(0, 5) == (0, 1) and first.gaps(0, 5) == (0, 0)


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(count=-1), "must not be negative.*count=-1"),
        (dict(first_epoch=-2), "must not be negative.*first_epoch=-2"),
        (dict(position="middle"), "one of random, first, last; received 'middle'"),
    ],
    ids=str,
)
def test_bad_input(options, message):
    with pytest.raises(ValueError, match=message):
        PoisonSchedule(**options)
