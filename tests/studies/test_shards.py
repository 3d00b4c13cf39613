"""Shards of a plan: disjoint, complete, the same on every machine, and of about equal work."""

import pytest

from keras_dep.experiments import grid
from keras_dep.studies import catalogue
from keras_dep.studies import plan as plans
from keras_dep.studies import scales
from keras_dep.studies import shards


def parts(cells, count):
    return [shards.Shard(number=number, count=count).of(cells) for number in range(1, count + 1)]


def fingerprints(cells):
    return [cell.fingerprint for cell in cells]


@pytest.mark.parametrize("name, count", [("smoke", 3), ("cpu", 7), ("paper", 16)])
def test_shards_cut_all_runs_into_parts_of_equal_work(name, count):
    studies = catalogue.STUDIES.values()
    cells = grid.unique(c for study in studies for c in study.cells(scales.find(name)))
    found = parts(cells, count)
    together = [each for part in found for each in fingerprints(part)]
    assert sorted(together) == sorted(fingerprints(cells))
    # Neither the order of the runs nor what is finished changes a part.
    other = shards.Shard(number=2, count=count).of(cells[::-1])
    assert set(fingerprints(other)) == set(fingerprints(found[1]))
    for part in found:
        there = set(fingerprints(part))
        for cell in part:
            for method in grid.needs(cell):
                assert cell.varied(method=method).fingerprint in there
    work = [shards._work(part) for part in found]
    assert max(work) <= 1.2 * min(work)


def test_a_run_stays_with_those_that_it_needs():
    cells = grid.product({}, ["sgd", "dep", "hosnn", "hosnn+dep"], (0, 1))
    assert grid.needs(cells[2]) == ("sgd",) and grid.needs(cells[0]) == ()
    assert grid.needs(cells[2].varied(method="hosnn(signature='file.npz')")) == ()
    found = [sorted((c.method, c.settings.seed) for c in part) for part in parts(cells, 4)]
    assert sorted(found) == [
        [("dep", 0)],
        [("dep", 1)],
        [("hosnn", 0), ("hosnn+dep", 0), ("sgd", 0)],
        [("hosnn", 1), ("hosnn+dep", 1), ("sgd", 1)],
    ]
    assert parts(cells[:1], 2)[1] == []


def test_a_shard_measures_its_own_runs(tmp_path):
    studies, scale = catalogue.chosen(["4"], []), scales.SMOKE
    whole = plans.plan(studies, scale, str(tmp_path))
    tasks = {task.key for task in whole.tasks()}
    assert len(tasks) == len(whole.cells) + len(whole.requests)
    shared, waiting = set(), 0
    for number in (1, 2):
        shard = shards.Shard(number=number, count=2)
        piece = plans.plan(studies, scale, str(tmp_path), shard=shard)
        mine = {task.key for task in piece.tasks()}
        assert not shared & mine
        shared |= mine
        waiting += piece._possible()[1]
    # Images are transferred from networks that another shard may train.
    assert shared <= tasks and len(tasks - shared) == waiting > 0


@pytest.mark.parametrize("text", ["", "2", "0/4", "5/4", "1/0", "a/b", "1/2/3", "-1/2"])
def test_mistakes_are_one_line(text):
    with pytest.raises(ValueError, match="shard must be i/n") as raised:
        shards.parse(text)
    assert "\n" not in str(raised.value)
