"""Claims judged from synthetic lines, and the page that shows them."""

import dataclasses
import json
import pathlib
from xml.etree import ElementTree

import pytest

from keras_dep._internal import records
from keras_dep.studies import claims
from keras_dep.studies import excerpts
from keras_dep.studies import result_files
from keras_dep.studies import result_pages
from keras_dep.studies import verdict
from keras_dep.studies.catalogue import STUDIES
from tests.support.table_lines import FACTS
from tests.support.table_lines import line

ROOT = pathlib.Path(__file__).parents[2]
CLEAN, WORST = "clean accuracy (%)", "worst-case accuracy (%)"


def judged(number, *lines):
    (found,) = [each for each in claims.judge(lines) if each["number"] == number]
    return found


PLAIN = line("sgd", "c", CLEAN, 90.0, 91.0, 92.0)


@pytest.mark.parametrize(
    "poisoned, expected",
    [
        ((20.0, 21.0, 22.0), verdict.STANDS),
        ((80.0, 81.0, 82.0), verdict.REVERSED),
        ((20.0, 80.0, 50.0), verdict.OPEN),
        ((20.0, 21.0), verdict.OPEN),
        ((), verdict.NOT_TESTED),
    ],
)
def test_a_collapse_is_the_loss_of_half(poisoned, expected):
    assert judged(1, PLAIN, line("sgd", "c/+p_0, 1 batch", CLEAN, *poisoned))["verdict"] == expected


def test_a_collapse_by_the_released_attack_alone():
    found = judged(
        1,
        PLAIN,
        line("sgd", "c/+p_0, 1 batch", CLEAN, 89.0, 90.0, 91.0),
        line("sgd", "c/+p_0, 1 batch, poison released", CLEAN, 20.0, 21.0, 20.0),
    )
    assert found["verdict"] == verdict.RELEASED_ONLY
    # Half of 90 % above guessing is 50 %.
    assert found["correct"]["mean"] == pytest.approx(50.5 - 90) and found["released"]["n"] == 3


def test_every_first_epoch_must_collapse_it():
    early = line("sgd", "c/+p_0, 1 batch", CLEAN, 20.0, 21.0, 22.0)
    late = line("sgd", "c/+p_6, 1 batch", CLEAN, 70.0, 71.0, 72.0)
    assert judged(2, PLAIN, early)["verdict"] == verdict.NOT_TESTED
    assert judged(2, PLAIN, early, late)["verdict"] == verdict.REVERSED


def test_dep_keeps_half_in_the_worst_condition():
    plain = line("dep", "c", CLEAN, 90.0, 90.0, 90.1)
    one = line("dep", "c/+p_0, 1 batch", CLEAN, 80.0, 80.0, 80.1)
    kept = line("dep", "c/+p_0, 5 batches", CLEAN, 70.0, 70.0, 70.1)
    five = line("dep", "c/+p_0, 5 batches", CLEAN, 30.0, 30.0, 30.1)
    frozen = line("dep", "c/+p_0, 5 batches, statistics frozen", CLEAN, 10.0, 10.0, 10.1)
    assert judged(7, plain, one)["verdict"] == verdict.NOT_TESTED
    assert judged(7, plain, one, kept)["verdict"] == verdict.STANDS
    assert judged(7, plain, one, kept, frozen)["verdict"] == verdict.STANDS
    assert judged(7, plain, one, five)["verdict"] == verdict.REVERSED


def test_dep_is_compared_with_the_best_rival_of_each_seed():
    dep = line("dep", "c", WORST, 50.0, 51.0, 52.0)
    rivals = [
        line("stog", "c", WORST, 40.0, 60.0, 40.0),
        *(line(name, "c", WORST, 45.0, 45.0, 45.0) for name in ("feel", "dlif", "hosnn")),
    ]
    found = judged(8, dep, *rivals)
    assert found["verdict"] == verdict.OPEN and found["correct"]["mean"] == 1.0
    # The ANN counterpart is no rival.
    other = line("stog", "c", WORST, 99.0, 99.0, 99.0, network="vgg5, ANN counterpart, rate 0.01")
    low = line("stog", "c", WORST, 45.0, 45.0, 45.0)
    assert judged(8, dep, other, low, *rivals[1:])["verdict"] == verdict.STANDS
    # Nor do some of the rivals stand for all.
    assert judged(8, dep, other, *rivals[1:])["verdict"] == verdict.NOT_TESTED


def test_radii_obfuscation_and_cost():
    radii = [
        line(method, "c", f"spectral radius, {kind}", value, value + 1, value + 2)
        for method, value in (("sgd", 20.0), ("dep", 10.0))
        for kind in ("clean", "fgsm", "pgd")
    ]
    assert judged(6, *radii)["verdict"] == verdict.STANDS
    assert judged(6, *radii[:-1])["verdict"] == verdict.NOT_TESTED
    signs = [
        line("dep", "c", f"sign {n} absent (% of seeds): x", 100.0, 100.0, 100.0) for n in (1, 2)
    ]
    assert judged(11, *signs)["verdict"] == verdict.STANDS
    shown = line("dep", "c", "sign 3 absent (% of seeds): y", 0.0, 0.0, 0.0)
    assert judged(11, *signs, shown)["verdict"] == verdict.REVERSED
    costly = line("dep", "c", CLEAN, 80.0, 81.0, 82.0)
    assert judged(12, PLAIN, costly)["verdict"] == verdict.REVERSED
    assert judged(4, PLAIN)["verdict"] == verdict.NOT_TESTED


def test_the_page_is_made_from_files(tmp_path):
    assert "No results are there yet." in result_pages.claims_page(str(tmp_path))
    (tmp_path / "cpu").mkdir()
    path = str(tmp_path / "cpu" / result_files.name_of("3"))
    lines = [PLAIN, line("sgd", "c/+p_0, 1 batch", CLEAN, 20.0, 21.0, 22.0)]
    result_files.write(path, STUDIES["3"], lines, FACTS)
    assert result_files.read(path)["lines"] == lines
    page = result_pages.claims_page(str(tmp_path))
    assert "## Scale cpu" in page and "| digits | **stands** | 29.5 (" in page
    assert "From `results/cpu/table-3.json`." in page and "2 hours" in page
    assert "commit unknown, runs at abc1234" in page
    tables = result_pages.tables_page(str(tmp_path))
    assert "91 +- 1 (3)" in tables and "vgg5, sgd, c/+p_0, 1 batch" in tables
    assert "Missing" not in tables
    record = json.loads(pathlib.Path(path).read_text())
    del record["sha256"]
    records.write(path, {**record, "schema": 9})
    with pytest.raises(ValueError, match="must have schema 3; received 9"):
        result_pages.claims_page(str(tmp_path))
    for name, value in (("seeds", [0]), ("holes", {"second": "lost"})):
        spoilt = {**record["lines"][0], name: value}
        records.write(path, {**record, "lines": [spoilt]})
        with pytest.raises(ValueError, match="sgd must have a seed for each value and hole; make"):
            result_pages.claims_page(str(tmp_path))


def test_a_page_joins_the_parts_of_a_table(tmp_path):
    folder = str(tmp_path)
    later = dataclasses.replace(PLAIN, seeds=(3, 4), values=(93.0, 94.0))
    first = dataclasses.replace(PLAIN, holes={3: "not trained yet", 4: "not trained yet"})
    for part, lines in ((None, [first]), ("later", [later])):
        place = result_files.folder_of(folder, "cpu", part)
        pathlib.Path(place).mkdir(parents=True)
        path = str(pathlib.Path(place) / result_files.name_of("1"))
        result_files.write(path, STUDIES["1"], lines, {**FACTS, "device": f"machine {part}"})
    (joined,) = result_files.of_scale(folder, "cpu")["1"].lines
    assert joined.values == (90.0, 91.0, 92.0, 93.0, 94.0) and joined.holes == {}
    (alone,) = result_files.of_scale(folder, "cpu", without="later")["1"].lines
    assert alone == first
    for page in (result_pages.claims_page(folder), result_pages.tables_page(folder)):
        assert "machine None" in page and "machine later" in page
    page = result_pages.claims_page(folder)
    assert "`results/cpu/table-1.json`, `results/cpu/later/table-1.json`" in page
    assert "92 +- 1.58 (5)" in result_pages.tables_page(folder)
    with pytest.raises(ValueError, match="part must be letters, digits, _"):
        result_files.folder_of(folder, "cpu", "../later")


def test_the_page_in_the_docs_is_that_of_the_results():
    page = (ROOT / "docs" / "claims.md").read_text()
    assert page == result_pages.claims_page(str(ROOT / "results")), "run make results-docs"
    page = (ROOT / "docs" / "tables.md").read_text()
    assert page == result_pages.tables_page(str(ROOT / "results")), "run make results-docs"
    lines = excerpts.lines_of(str(ROOT / "results"))
    for name in ("README.md", "docs/guides/reproduction.md"):
        page = (ROOT / name).read_text()
        assert page == excerpts.renewed(page, lines), "run make results-docs"
    # The outlines of letters depend on the version of Matplotlib, the curves do not.
    picture = ElementTree.parse(ROOT / "docs" / "images" / "results.svg")
    found = picture.findtext(".//{http://purl.org/dc/elements/1.1/}description")
    assert json.loads(found) == excerpts.curves(lines), "run make results-docs"
