"""Records: strict JSON on the disk, the same values back, one line about every other file."""

import json
import math

import pytest

from keras_dep._internal import records

SCHEMA = {
    "name": str,
    "rows": [{"count": int, "share": float | None}],
    "by_kind": {str: float},
    "spectrum": (None.__class__, {"radius": float}),
}
RECORD = {
    "name": "a",
    "rows": [{"count": 1, "share": 0.5}, {"count": 2, "share": None}],
    "by_kind": {"clean": 1},
    "spectrum": {"radius": 2.0},
}


def refuse_constant(name):
    raise AssertionError(f"{name} is not JSON")


def test_a_record_is_plain_as_it_comes_back(tmp_path):
    path = tmp_path / "result.json"
    record = {"a": [math.nan, {"b": (math.inf, -math.inf, 1.5, 2)}], "c": None}
    records.write(path, record)
    json.loads(path.read_text(), parse_constant=lambda text: pytest.fail(text))
    back, plain = records.read(path, {}, ""), records.plain(record)
    assert repr(back) == repr(plain)
    assert plain["a"][1]["b"] == [math.inf, -math.inf, 1.5, 2]


def test_what_is_not_finite_comes_back_and_the_file_is_strict_json(tmp_path):
    path = tmp_path / "result.json"
    record = {"a": math.inf, "b": [-math.inf, {"c": 1.5}], "d": (math.nan, None, True, "word")}
    records.write(path, record)
    strict = json.loads(path.read_text(), parse_constant=refuse_constant)
    assert strict["a"] == "Infinity" and strict["b"][0] == "-Infinity" and strict["d"][0] == "NaN"
    found = records.read(path, {}, "")
    assert found["a"] == math.inf and found["b"] == record["b"]
    assert math.isnan(found["d"][0]) and found["d"][1:] == [None, True, "word"]


def test_files_of_before_hold_what_json_does_not_allow_and_are_read(tmp_path):
    path = tmp_path / "result.json"
    path.write_text('{"a": NaN, "b": -Infinity}')
    found = records.read(path, {"a": float, "b": float}, "")
    assert math.isnan(found["a"]) and found["b"] == -math.inf


def test_a_record_of_the_schema_is_read(tmp_path):
    path = tmp_path / "result.json"
    for record in (RECORD, {**RECORD, "spectrum": None, "more": 1}):
        records.write(path, record)
        assert records.read(path, SCHEMA, "") == record


@pytest.mark.parametrize(
    "change, words",
    [
        ({"name": 3}, "'name' must be a string; received 3"),
        ({"name": True}, "'name' must be a string; received True"),
        ({"rows": {}}, "'rows' must be a list; received {}"),
        ({"rows": [{"share": 1.0}]}, "'rows[0].count' is missing"),
        ({"rows": [{"count": 1.5, "share": 1}]}, "'rows[0].count' must be an integer"),
        ({"rows": [{"count": True, "share": 1}]}, "'rows[0].count' must be an integer"),
        ({"rows": [{"count": 1, "share": "x"}]}, "'rows[0].share' must be a number or null"),
        ({"by_kind": {"clean": "x"}}, "'by_kind.clean' must be a number; received 'x'"),
        ({"spectrum": {}}, "'spectrum.radius' is missing"),
        ({"spectrum": "x" * 999}, "'spectrum' must be an object; received str"),
    ],
)
def test_another_value_is_named(tmp_path, change, words):
    path = tmp_path / "result.json"
    records.write(path, {**RECORD, **change})
    with pytest.raises(ValueError) as caught:
        records.read(path, SCHEMA, "train again")
    message = str(caught.value)
    assert words in message and str(path) in message and message.endswith("; train again.")
    assert "\n" not in message and len(message) < 300


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 99_999, b"\xff\xfe", b"{'a': 1}", b"{}}"])
def test_what_is_no_json_is_one_line(tmp_path, content):
    path = tmp_path / "result.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="result.json is damaged, not whole JSON .*; mend it.$"):
        records.read(path, {}, "mend it")


@pytest.mark.parametrize("content", [b"[]", b"3", b"null", b'"x"'])
def test_json_of_another_kind_is_one_line(tmp_path, content):
    path = tmp_path / "result.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="result.json is not .*: it must be an object; received"):
        records.read(path, {"a": int}, "mend it")


def test_a_file_that_is_not_there_or_a_folder(tmp_path):
    for path, words in ((tmp_path / "gone.json", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(ValueError, match=f"{path} cannot be read .{words}.*; mend it"):
            records.read(path, {}, "mend it")


def test_every_cut_of_a_record_is_refused(tmp_path):
    path = tmp_path / "result.json"
    records.write(path, RECORD)
    content = path.read_bytes().rstrip()
    for size in range(len(content)):
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match=r"result\.json"):
            records.read(path, SCHEMA, "mend it")


def test_every_flipped_digit_is_refused(tmp_path):
    path = tmp_path / "result.json"
    record = {**RECORD, "name": "é", "infinite": [math.inf], "share": 0.1}
    records.write(path, record)
    content = path.read_bytes()
    assert json.loads(content).keys() == {*record, "sha256"}
    assert records.read(path, {}, "") == record
    places = [place for place, byte in enumerate(content) if chr(byte).isdigit()]
    # The name of the checksum is not one of its digits.
    places = [place for place in places if place not in range(*name_of_checksum(content))]
    assert len(places) > 30
    for place in places:
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(ValueError, match="result.json is damaged, .*; mend it.$"):
            records.read(path, {}, "mend it")


def name_of_checksum(content):
    start = content.index(b'"sha256"')
    return start, start + len(b'"sha256"')
