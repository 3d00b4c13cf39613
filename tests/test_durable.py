"""Whole files: nothing under the name before the end, nothing beside it after a failure."""

import errno
import json
import math
import os

import pytest

from keras_dep import durable


def test_the_name_appears_with_the_whole_content(tmp_path):
    path = tmp_path / "result.json"
    with durable.whole_file(path) as unfinished:
        with open(unfinished, "w") as file:
            file.write("[1")
            file.flush()
            assert not path.exists() and os.path.splitext(unfinished)[1] == ".json"
            file.write("]")
    assert path.read_text() == "[1]" and os.listdir(tmp_path) == ["result.json"]


def test_json_is_strict_at_any_depth(tmp_path):
    path = tmp_path / "result.json"
    value = {"a": [math.nan, {"b": (math.inf, -math.inf, 1.5, 2)}], "c": None, "d": "NaN"}
    durable.write_json(path, value)
    found = json.loads(path.read_text(), parse_constant=lambda text: pytest.fail(text))
    assert found == durable.strict(value)
    assert found == {"a": [None, {"b": [None, None, 1.5, 2]}], "c": None, "d": "NaN"}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("writer"), ValueError("x")])
def test_a_failing_block_leaves_what_was_there(tmp_path, error):
    path = tmp_path / "result.json"
    path.write_text("old")
    with pytest.raises(type(error)) as caught, durable.whole_file(path) as unfinished:
        with open(unfinished, "w") as file:
            file.write("new")
        raise error
    assert caught.value is error
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["result.json"]


def test_a_full_disk_is_one_line_with_name_and_space(tmp_path):
    path = tmp_path / "model.keras"
    with pytest.raises(
        OSError, match=r"model\.keras: .*No space left; 2.*\d+ bytes free"
    ) as caught:
        with durable.whole_file(path) as unfinished:
            with open(unfinished, "w") as file:
                file.write("half")
            raise OSError(errno.ENOSPC, "No space left;\n  2 lines")
    assert caught.value.errno == errno.ENOSPC and "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(OSError, match="gone/x: .*unknown bytes free"):
        with durable.whole_file(tmp_path / "gone/x") as unfinished, open(unfinished, "w"):
            pass
