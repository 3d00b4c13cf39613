"""The README's table and picture from synthetic result files."""

import json
from xml.etree import ElementTree

import pytest

from keras_dep.studies import front_page
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


def test_the_table_has_the_methods_of_one_data_set(folder):
    rows = [
        [cell.strip() for cell in row.split("|")[1:-1]]
        for row in front_page.table(folder).splitlines()
    ]
    assert rows[2:] == [
        ["`sgd`", "51.0 +- 1.4", "", "", "", "20.0"],
        ["`feel`", "40.0", "", "", "", ""],
    ]


def test_the_table_stands_between_its_marks(folder):
    readme = f"# Title\n\n{front_page.BEGIN}\nold\n{front_page.END}\n\nThe rest.\n"
    made = front_page.renewed(readme, "| new |")
    assert made == readme.replace("old", "| new |")
    assert front_page.renewed(made, "| new |") == made
    with pytest.raises(ValueError, match="must hold '<!-- results"):
        front_page.renewed("# Title\n", "| new |")


def test_the_picture_has_the_curves_that_there_are(folder):
    picture = front_page.picture(folder)
    assert picture == front_page.picture(folder)
    described = ElementTree.fromstring(picture).find(
        ".//{http://purl.org/dc/elements/1.1/}description"
    )
    assert described.text == front_page.drawn(folder)
    poison, radius = json.loads(described.text).values()
    assert poison == {
        "SGD, text's attack": [[0, 1], [51, 45], [pytest.approx(2**0.5, abs=1e-6), 0]],
        "SGD, released attack": [[0, 5], [51, 20], [pytest.approx(2**0.5, abs=1e-6), 0]],
    }
    # Radii up to 16 grey levels.
    assert radius == {"SGD": [[0, 8], [30, 30], [0, 0]]}
