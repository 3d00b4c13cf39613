"""Excerpts of tables within pages, and their picture, from synthetic result files."""

import functools
import json
from xml.etree import ElementTree

import pytest

from keras_dep.studies import excerpts
from keras_dep.studies import result_files
from keras_dep.studies.catalogue import STUDIES
from tests.support.table_lines import FACTS
from tests.support.table_lines import line

CLEAN = "clean accuracy (%)"


@pytest.fixture
def shown(tmp_path):
    for scale in ("cpu", "cpu_small"):
        (tmp_path / scale).mkdir()
    on_cifar = functools.partial(line, dataset="cifar10")
    lines = [
        on_cifar("sgd", "c", CLEAN, 50.0, 52.0),
        line("sgd", "c", CLEAN, 99.0),
        on_cifar("sgd", "c", CLEAN, 99.0, network="vgg5, ANN counterpart, rate 0.1"),
        on_cifar("sgd", "c", CLEAN, 98.0, network="vgg5, ANN counterpart, rate 0.01"),
        on_cifar("sgd", "c/+p_0, 1 batch", CLEAN, 45.0),
        on_cifar("sgd", "c/+p_0, 5 batches, poison released", CLEAN, 20.0),
        on_cifar("sgd", "c/+p_0, 5 batches, poison released, statistics frozen", CLEAN, 49.0),
        on_cifar("feel", "c", CLEAN, 40.0),
        on_cifar("feel", "p", CLEAN, 10.0),
    ]
    swept = [
        on_cifar("sgd", "c", f"pgd at {radius}/255: accuracy (%)", 30.0) for radius in (0, 8, 64)
    ]
    small = [on_cifar("sgd", "c", CLEAN, 30.0)]
    for scale, name, several in (
        ("cpu", "1", lines),
        ("cpu", "4", swept),
        ("cpu_small", "1", small),
    ):
        path = str(tmp_path / scale / result_files.name_of(name))
        result_files.write(path, STUDIES[name], several, {**FACTS, "scale": scale})
    return excerpts.lines_of(str(tmp_path))


def rows(name, shown):
    text = excerpts.excerpt(name, shown).splitlines()
    head, _, *others = ([cell.strip() for cell in row.split("|")[1:-1]] for row in text)
    return [head, *others]


def test_methods_are_rows(shown):
    assert rows("methods on cifar10", shown)[1:] == [
        ["`sgd`", "51.0 +- 1.4", "", "", "", "20.0"],
        ["ANN counterpart", "98.0", "", "", "", ""],
        ["`feel`", "40.0", "", "", "", ""],
    ]
    found = rows("robustness on cifar10", shown)
    assert found[0][4] == "clean, adversarial training" and found[3][4] == "10.0"
    assert rows("robustness on digits", shown)[1][:2] == ["`sgd`", "99.0"]
    # The same data set at another scale is told apart.
    small = rows("robustness on a small subset of cifar10", shown)
    assert small[1:] == [["`sgd`", "30.0", "", "", "", "", ""]]


def test_poison_has_a_row_for_each_training_that_there_is(shown):
    assert rows("poison on cifar10", shown) == [
        ["", "`sgd`"],
        ["clean images", "51.0 +- 1.4"],
        ["1 per epoch, text's attack", "45.0"],
        ["5 per epoch, released attack", "20.0"],
        ["5 per epoch, released attack, kept out of statistics", "49.0"],
    ]


def test_excerpts_stand_between_their_marks(shown):
    page = "# Title\n"
    for name in excerpts.NAMES:
        page += f"\n<!-- results: {name} -->\nold\n<!-- end of results -->\n\nThe rest.\n"
    made = excerpts.renewed(page, shown)
    assert "old" not in made and made.count("The rest.") == len(excerpts.NAMES)
    assert all(excerpts.excerpt(name, shown) in made for name in excerpts.NAMES)
    assert excerpts.renewed(made, shown) == made
    with pytest.raises(ValueError, match="must hold '<!-- results: NAME -->'"):
        excerpts.renewed("# Title\n", shown)
    with pytest.raises(ValueError, match="excerpt must be one of methods on cifar10"):
        excerpts.renewed("<!-- results: all -->\n<!-- end of results -->\n", shown)


def test_the_picture_has_the_curves_that_there_are(shown):
    picture = excerpts.picture(shown)
    assert picture == excerpts.picture(shown)
    described = ElementTree.fromstring(picture).find(
        ".//{http://purl.org/dc/elements/1.1/}description"
    )
    assert described.text == json.dumps(excerpts.curves(shown))
    poison, radius = json.loads(described.text).values()
    assert poison == {
        "SGD, text's attack": [[0, 1], [51, 45], [pytest.approx(2**0.5, abs=1e-6), 0]],
        "SGD, released attack": [[0, 5], [51, 20], [pytest.approx(2**0.5, abs=1e-6), 0]],
    }
    # Radii up to 16 grey levels.
    assert radius == {"SGD": [[0, 8], [30, 30], [0, 0]]}
