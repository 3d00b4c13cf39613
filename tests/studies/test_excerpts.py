"""Excerpts of tables within pages, and their picture, from synthetic result files."""

import json
from xml.etree import ElementTree

import pytest

from keras_dep.studies import excerpts
from keras_dep.studies import result_files
from keras_dep.studies.catalogue import STUDIES
from keras_dep.studies.lines import Line

CLEAN = "clean accuracy (%)"
FACTS = {
    "scale": "cpu",
    "command": "python x",
    "seconds": 1.0,
    "versions": {"keras": "3"},
    "device": "a machine",
    "commit": None,
    "commits": [],
}


def line(method, condition, quantity, *values, dataset="cifar10", network="vgg5"):
    return Line(
        dataset=dataset,
        network=network,
        method=method,
        condition=condition,
        quantity=quantity,
        protocol="a protocol",
        seeds=tuple(range(len(values))),
        values=values,
    )


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "cpu"
    place.mkdir()
    lines = [
        line("sgd", "c", CLEAN, 50.0, 52.0),
        line("sgd", "c", CLEAN, 99.0, dataset="digits"),
        line("sgd", "c", CLEAN, 99.0, network="vgg5, ANN counterpart"),
        line("sgd", "c/+p_0, 1 batch", CLEAN, 45.0),
        line("sgd", "c/+p_0, 5 batches, poison released", CLEAN, 20.0),
        line("sgd", "c/+p_0, 5 batches, poison released, statistics frozen", CLEAN, 49.0),
        line("feel", "c", CLEAN, 40.0),
        line("feel", "p", CLEAN, 10.0),
    ]
    swept = [line("sgd", "c", f"pgd at {radius}/255: accuracy (%)", 30.0) for radius in (0, 8, 64)]
    for name, several in (("1", lines), ("4", swept)):
        path = str(place / result_files.name_of(name))
        result_files.write(path, STUDIES[name], several, FACTS)
    return str(tmp_path)


def rows(name, folder):
    text = excerpts.excerpt(name, folder).splitlines()
    head, _, *others = ([cell.strip() for cell in row.split("|")[1:-1]] for row in text)
    return [head, *others]


def test_methods_are_rows(folder):
    assert rows("methods on cifar10", folder)[1:] == [
        ["`sgd`", "51.0 +- 1.4", "", "", "", "20.0"],
        ["`feel`", "40.0", "", "", "", ""],
    ]
    found = rows("robustness on cifar10", folder)
    assert found[0][4] == "clean, adversarial training" and found[2][4] == "10.0"
    assert rows("robustness on digits", folder)[1][:2] == ["`sgd`", "99.0"]


def test_poison_has_a_row_for_each_training_that_there_is(folder):
    assert rows("poison on cifar10", folder) == [
        ["", "`sgd`"],
        ["clean images", "51.0 +- 1.4"],
        ["1 per epoch, text's attack", "45.0"],
        ["5 per epoch, released attack", "20.0"],
        ["5 per epoch, released attack, kept out of statistics", "49.0"],
    ]


def test_excerpts_stand_between_their_marks(folder):
    page = "# Title\n"
    for name in excerpts.NAMES:
        page += f"\n<!-- results: {name} -->\nold\n<!-- end of results -->\n\nThe rest.\n"
    made = excerpts.renewed(page, folder)
    assert "old" not in made and made.count("The rest.") == len(excerpts.NAMES)
    assert all(excerpts.excerpt(name, folder) in made for name in excerpts.NAMES)
    assert excerpts.renewed(made, folder) == made
    with pytest.raises(ValueError, match="must hold '<!-- results: NAME -->'"):
        excerpts.renewed("# Title\n", folder)
    with pytest.raises(ValueError, match="excerpt must be one of methods on cifar10"):
        excerpts.renewed("<!-- results: all -->\n<!-- end of results -->\n", folder)


def test_the_picture_has_the_curves_that_there_are(folder):
    picture = excerpts.picture(folder)
    assert picture == excerpts.picture(folder)
    described = ElementTree.fromstring(picture).find(
        ".//{http://purl.org/dc/elements/1.1/}description"
    )
    assert described.text == excerpts.drawn(folder)
    poison, radius = json.loads(described.text).values()
    assert poison == {
        "SGD, text's attack": [[0, 1], [51, 45], [pytest.approx(2**0.5, abs=1e-6), 0]],
        "SGD, released attack": [[0, 5], [51, 20], [pytest.approx(2**0.5, abs=1e-6), 0]],
    }
    # Radii up to 16 grey levels.
    assert radius == {"SGD": [[0, 8], [30, 30], [0, 0]]}
