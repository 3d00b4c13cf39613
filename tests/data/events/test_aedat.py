"""Recordings written by the description of their formats, whole and damaged."""

import numpy as np
import pytest

from keras_dep.data.events import aedat
from tests.support import recordings


@pytest.mark.parametrize("count", [0, 1, 100])
def test_aedat2_holds_the_events_without_external_signals(tmp_path, count):
    events, path = recordings.made_events(count), tmp_path / "cat.aedat"
    recordings.write_aedat2(path, events, external=3)
    found = aedat.parse_aedat2(path.read_bytes(), str(path))
    np.testing.assert_array_equal(found, events)
    assert found.dtype == events.dtype


@pytest.mark.parametrize("count", [0, 1, 100])
def test_aedat3_holds_the_valid_polarity_events(tmp_path, count):
    # The clock of 31 bits overflows within the recording.
    events = recordings.made_events(count, start=2**31 - 20_000)
    path = tmp_path / "user.aedat"
    recordings.write_aedat3(path, events, invalid=2)
    np.testing.assert_array_equal(aedat.parse_aedat3(path.read_bytes(), str(path)), events)


@pytest.mark.parametrize(
    "kind, damage, words",
    [
        ("2.0", lambda c: b"", "must begin with #!AER-DAT2.0; received ''"),
        ("2.0", lambda c: c.replace(b"2.0", b"3.1"), "must begin with #!AER-DAT2.0; received"),
        ("2.0", lambda c: c[:-3], "received 5 bytes more: it is truncated or damaged"),
        ("2.0", lambda c: c[:20], "ends within its header"),
        ("3.1", lambda c: c.replace(b"3.1", b"3.0"), "must begin with #!AER-DAT3.1; received '#!"),
        ("3.1", lambda c: b"\x00" + c, "must begin with #!AER-DAT3.1"),
        ("3.1", lambda c: c.replace(b"#!END-HEADER\r\n", b""), "a header that ends with #!END-"),
        ("3.1", lambda c: c[:-3], "is truncated: the packet at byte .* has 53 bytes of 56"),
        ("3.1", lambda c: c[:-60], "is truncated: the packet at byte .* has 24 bytes of 28"),
        ("3.1", lambda c: c + bytes(28), "received one at byte .* with 0 of 0 events of 0 bytes"),
    ],
)
def test_a_damaged_file_is_one_line_with_its_name(tmp_path, kind, damage, words):
    path = tmp_path / "recording.aedat"
    write, read = {
        "2.0": (recordings.write_aedat2, aedat.parse_aedat2),
        "3.1": (recordings.write_aedat3, aedat.parse_aedat3),
    }[kind]
    write(path, recordings.made_events(14))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=words) as caught:
        read(path.read_bytes(), str(path))
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
