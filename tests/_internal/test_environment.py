"""What is recorded of versions and machine."""

import pytest

from keras_dep._internal import environment


@pytest.fixture
def unread():
    environment._commit.cache_clear()
    yield
    environment._commit.cache_clear()


def test_files_written_by_the_process_do_not_change_its_commit(unread, monkeypatch):
    described = iter(["0123456789ab", "0123456789ab-dirty"])
    monkeypatch.setattr(
        environment,
        "_git",
        lambda folder, command, *_: next(described) if command != "ls-files" else "",
    )
    found = [environment.environment()["commit"] for _ in range(2)]
    assert found == ["0123456789ab"] * 2
