"""Readers of recordings: AEDAT 2.0, as of DVS-CIFAR10, and AEDAT 3.1, as of DVS128 Gesture.

The formats are described at
https://docs.inivation.com/software/software-advanced-usage/file-formats/index.html.
"""

import numpy as np

from keras_dep._internal.types import Array
from keras_dep.data.events.framing import EVENT

# Side of the DVS128 sensor.
SIDE = 128
_PAIR = np.dtype([("address", ">u4"), ("timestamp", ">i4")])
_HEADER = np.dtype(
    [
        ("type", "<i2"),
        ("source", "<i2"),
        ("size", "<i4"),
        ("timestamp_offset", "<i4"),
        ("overflow", "<i4"),
        ("capacity", "<i4"),
        ("number", "<i4"),
        ("valid", "<i4"),
    ]
)
_POLARITY = np.dtype([("data", "<u4"), ("timestamp", "<i4")])
_POLARITY_TYPE = 1


def parse_aedat2(content: bytes, name: str) -> Array:
    """Reads the events of a DVS128 from the content of an AEDAT 2.0 file.

    After a header of lines that begin with `#`, each event is an address and a time in
    microseconds, both 32 bits, big-endian. Bit 0 of the address is the polarity, 1 for darker; bits
    1 to 7 and 8 to 14 are the two coordinates, counted from the far edges. The picture is turned as
    SpikingJelly turns it, upright for DVS-CIFAR10: bits 8 to 14 are the column, counted from the
    right, and bits 1 to 7 the row, counted from the bottom. Events with a higher bit are external
    signals and are left out.

    Args:
        content: the content of the file.
        name: its name, for messages.

    Returns:
        Structured array `(N,)` with the fields `t`, `x`, `y`, `p`, see `keras_dep.data.events`; in
        the order of the file.

    Raises:
        ValueError: another format, or a truncated file; one line with its name.
    """
    place = _behind_version(name, content, b"2.0")
    # An address of a DVS128 begins with a zero byte, never with "#".
    while content[place : place + 1] == b"#":
        place = _next_line(name, content, place)
    rest = (len(content) - place) % _PAIR.itemsize
    if rest:
        raise ValueError(
            f"{name} must hold events of {_PAIR.itemsize} bytes behind its header; received {rest} "
            "bytes more: it is truncated or damaged; copy it anew."
        )
    pairs = np.frombuffer(content, _PAIR, offset=place)
    pairs = pairs[pairs["address"] < 2**15]
    address = pairs["address"].astype("int64")
    events = np.empty(len(pairs), EVENT)
    events["t"] = pairs["timestamp"]
    events["x"] = SIDE - 1 - (address >> 8 & 0x7F)
    events["y"] = SIDE - 1 - (address >> 1 & 0x7F)
    events["p"] = 1 - (address & 1)
    return events


def parse_aedat3(content: bytes, name: str) -> Array:
    """Reads the polarity events from the content of an AEDAT 3.1 file.

    The file is a header of lines, then packets of events, little-endian; each packet has a header
    of 28 bytes. Packets of other types, and events marked as invalid, are left out.

    Args:
        content: the content of the file.
        name: its name, for messages.

    Returns:
        As `parse_aedat2`; column and row are counted from the upper left.

    Raises:
        ValueError: another format, or a truncated or damaged file; one line with its name.
    """
    place = _behind_version(name, content, b"3.1")
    line = b""
    while line.strip() != b"#!END-HEADER":
        if content[place : place + 1] != b"#":
            raise ValueError(
                f"{name} must have a header that ends with #!END-HEADER; received none: it is "
                "damaged; copy it anew."
            )
        following = _next_line(name, content, place)
        line, place = content[place:following], following
    packets = [np.empty(0, EVENT)]
    while place < len(content):
        place, events = _packet(name, content, place)
        packets.append(events)
    return np.concatenate(packets)


def _packet(name: str, content: bytes, place: int) -> tuple[int, Array]:
    """The place behind a packet, and its polarity events."""
    begin = place + _HEADER.itemsize
    if begin > len(content):
        raise ValueError(_truncated(name, place, len(content) - place, _HEADER.itemsize))
    header = np.frombuffer(content, _HEADER, 1, place)[0]
    size, capacity, number = (int(header[each]) for each in ("size", "capacity", "number"))
    is_polarity = header["type"] == _POLARITY_TYPE
    if size < 1 or not 0 <= number <= capacity or is_polarity and size != _POLARITY.itemsize:
        raise ValueError(
            f"{name} must have packets of events; received one at byte {place} of type "
            f"{header['type']} with {number} of {capacity} events of {size} bytes: it is damaged; "
            "copy it anew."
        )
    end = begin + size * capacity
    if end > len(content):
        raise ValueError(_truncated(name, place, len(content) - begin, size * capacity))
    if not is_polarity:
        return end, np.empty(0, EVENT)
    found = np.frombuffer(content, _POLARITY, number, begin)
    found = found[found["data"] & 1 == 1]
    data = found["data"].astype("int64")
    events = np.empty(len(found), EVENT)
    # Times have 31 bits; the header counts how often they began anew.
    events["t"] = found["timestamp"].astype("int64") | int(header["overflow"]) << 31
    events["x"], events["y"] = data >> 17 & 0x7FFF, data >> 2 & 0x7FFF
    events["p"] = data >> 1 & 1
    return end, events


def _behind_version(name: str, content: bytes, version: bytes) -> int:
    """The place behind the first line, which names the format."""
    wanted = b"#!AER-DAT" + version
    first = content[:32].splitlines()[0] if content else b""
    if first.rstrip() != wanted:
        shown = first[:20].decode("ascii", "replace")
        raise ValueError(
            f"{name} must begin with {wanted.decode()}; received {shown!r}: it is another format, "
            "or damaged; copy it anew."
        )
    return _next_line(name, content, 0)


def _next_line(name: str, content: bytes, place: int) -> int:
    end = content.find(b"\n", place)
    if end < 0:
        raise ValueError(f"{name} ends within its header: it is truncated; copy it anew.")
    return end + 1


def _truncated(name: str, place: int, found: int, wanted: int) -> str:
    return (
        f"{name} is truncated: the packet at byte {place} has {found} bytes of {wanted}; copy it "
        "anew."
    )
