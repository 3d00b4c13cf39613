"""A file that a stopped measurement left: continued, or refused in one line."""

import json

import pytest

from keras_dep._internal.resumable import ResumableFile

SCHEMA = {"protocol": dict, "count": int}


def resumable(path, **changes):
    return ResumableFile(path=path, what="a count", schema=SCHEMA, **changes)


def test_without_a_file_nothing_is_read_or_written(tmp_path):
    resumable(None).write({"count": 1})
    assert resumable(None).read({}) is None and resumable(tmp_path / "none.json").read({}) is None
    assert not list(tmp_path.iterdir())


def test_a_record_of_the_same_protocol_comes_back(tmp_path):
    file = resumable(tmp_path / "found.json")
    record = {"protocol": {"seed": 0, "levels": [1, 2]}, "count": 3}
    file.write(record)
    # Tuples are lists in JSON.
    assert file.read({"seed": 0, "levels": (1, 2)}) == record
    with pytest.raises(ValueError, match="holds a count with seed=0; received 1; choose another"):
        file.read({"seed": 1})


def test_a_finished_record_has_a_schema_of_its_own(tmp_path):
    path = tmp_path / "found.json"
    file = resumable(path, finished_schema={**SCHEMA, "mean": float})
    for finished in (False, True):
        file.write({"protocol": {}, "count": 3, "finished": finished})
        if not finished:
            assert file.read({})["count"] == 3
    with pytest.raises(ValueError, match="'mean' is missing; it is not a count; choose another"):
        file.read({})
    file.write({"protocol": {}, "count": 3})
    with pytest.raises(ValueError, match="'finished' is missing"):
        file.read({})


def test_a_record_of_an_earlier_revision_is_migrated(tmp_path):
    path = tmp_path / "found.json"
    path.write_text(json.dumps({"protocol": {}, "number": 3}))
    file = resumable(path, migrated=lambda old: {"protocol": {}, "count": old["number"]})
    assert file.read({}) == {"protocol": {}, "count": 3}
