"""The benchmark pages of the docs say what `benchmarks/results` holds."""

import importlib.util
import json
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
ROW = {"case", "backend", "metric", "ours", "peer", "peer_name", "ratio"}


@pytest.fixture(scope="module")
def pages():
    spec = importlib.util.spec_from_file_location("pages", ROOT / "benchmarks" / "pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_page_is_up_to_date(pages):
    stale = [name for name, text in pages.pages().items() if pages.read(name) != text]
    assert not stale, "run make results-docs"


def test_no_page_is_left_over(pages):
    on_disk = {path.name for path in pages.DOCS.glob("*.md")}
    assert on_disk == {"index.md", *pages.pages()}


def test_rows_have_the_form_of_the_benchmarks(pages):
    for path in pages.RESULTS.glob("*.json"):
        record = json.loads(path.read_text())
        assert record["rows"] and record["question"] and record["command"] and record["commit"]
        for row in record["rows"]:
            assert ROW <= set(row) <= ROW | {"commit"}, path.name
            assert row["ratio"] is None or row["peer_name"], path.name


def test_a_table_holds_every_figure_of_its_rows(pages):
    rows = [
        {
            "case": "A",
            "backend": "torch",
            "metric": "s",
            "ours": 1.5,
            "peer": 3.0,
            "peer_name": "P",
            "ratio": 0.5,
        },
        {
            "case": "A",
            "backend": "torch",
            "metric": "s",
            "ours": 1.5,
            "peer": 2.0,
            "peer_name": "Q",
            "ratio": None,
        },
        {
            "case": "A",
            "backend": "jax",
            "metric": "s",
            "ours": 4.0,
            "peer": None,
            "peer_name": None,
            "ratio": None,
        },
    ]
    assert pages.table(rows).splitlines() == [
        "| case | backend | keras_dep | P | ratio to P | Q |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
        "| A | torch | 1.5 | 3 | 0.5 | 2 |",
        "| A | jax | 4 |  |  |  |",
    ]


def test_a_row_that_would_overwrite_another_is_refused(pages):
    row = {
        "case": "A",
        "backend": "torch",
        "metric": "s",
        "ours": 1.5,
        "peer": 3.0,
        "peer_name": "P",
        "ratio": 0.5,
    }
    with pytest.raises(ValueError, match="twice"):
        pages.table([row, {**row, "peer": 4.0}])
    with pytest.raises(ValueError, match="ours"):
        pages.table([row, {**row, "ours": 2.0, "peer_name": "Q"}])


def test_a_changed_result_makes_its_page_stale(pages, tmp_path, monkeypatch):
    for path in pages.RESULTS.glob("*.json"):
        (tmp_path / path.name).write_text(path.read_text())
    monkeypatch.setattr(pages, "RESULTS", tmp_path)
    record = json.loads((tmp_path / "dep_cpu.json").read_text())
    record["rows"][0]["peer"] += 1
    (tmp_path / "dep_cpu.json").write_text(json.dumps(record))
    assert [n for n, text in pages.pages().items() if pages.read(n) != text] == ["dep.md"]
