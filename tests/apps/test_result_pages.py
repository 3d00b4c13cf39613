"""The app that writes the pages of results: what it writes, and mistakes."""

import pytest

from apps import result_pages
from tests.support.app_status import status_of

README = "# Title\n\n<!-- results: methods on cifar10 -->\n<!-- end of results -->\n"


@pytest.fixture
def launch(tmp_path):
    names = {"claims": "claims.md", "tables": "tables.md", "picture": "results.svg"}
    places = {name: tmp_path / file for name, file in names.items()}

    def run(**flags):
        given = {"results_dir": tmp_path, "excerpts": tmp_path / "README.md", **places, **flags}
        return status_of(result_pages, [f"--{name}={value}" for name, value in given.items()])

    return run


def test_pages_without_results(launch, tmp_path):
    (tmp_path / "README.md").write_text(README)
    assert launch() == 0
    assert "No results are there yet." in (tmp_path / "claims.md").read_text()
    assert "No results are there yet." in (tmp_path / "tables.md").read_text()
    assert "| PGD-7 |" in (tmp_path / "README.md").read_text()
    assert (tmp_path / "results.svg").read_text().startswith("<?xml")


@pytest.mark.parametrize(
    "readme, words",
    [(None, "excerpts must name pages; "), ("# Title\n", "a page must hold")],
)
def test_a_mistake_is_one_line_and_writes_nothing(launch, capsys, tmp_path, readme, words):
    if readme is not None:
        (tmp_path / "README.md").write_text(readme)
    assert launch() == 2
    message = capsys.readouterr().err.strip().splitlines()
    assert len(message) == 1 and message[0].startswith("result_pages: ") and words in message[0]
    assert not (tmp_path / "claims.md").exists()
