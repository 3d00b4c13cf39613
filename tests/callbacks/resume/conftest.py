"""States saved once, which the tests copy, damage or refuse."""

import shutil

import pytest

from tests.support.small_run import bits
from tests.support.small_run import save


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "state")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with the states after epochs 1 and 2, and the bits of every variable at each."""
    folder = tmp_path_factory.mktemp("saved")
    contents = {}
    for epochs in (1, 2):
        model = save(folder / f"after-{epochs}" / "state", epochs=epochs)
        contents[epochs] = bits(model)
    return folder / "after-2", contents


@pytest.fixture
def saved_path(saved, tmp_path):
    shutil.copytree(saved[0], tmp_path, dirs_exist_ok=True)
    return str(tmp_path / "state")
