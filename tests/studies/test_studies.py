"""Studies: which runs they share, and tables and figures from synthetic results."""

import dataclasses
import itertools
import types

import numpy as np
import pytest

from keras_dep import layers
from keras_dep import models
from keras_dep.experiments import grid
from keras_dep.studies import catalogue
from keras_dep.studies import cost
from keras_dep.studies import growth
from keras_dep.studies import lines
from keras_dep.studies import measurements
from keras_dep.studies import scales
from keras_dep.studies import study as studies

SMOKE = scales.find("smoke")


def synthetic(cell, failed=False):
    draw = np.random.default_rng(cell.settings.seed)
    epochs = cell.settings.epochs
    curve = draw.uniform(0.2, 0.9, epochs).tolist()
    aligned = {"curvature_along_gradient": 5.0, "curvature_along_step": 1.0, "cosine": 0.3}
    result = {
        "accuracy": {"clean": curve[-1], "fgsm": 0.3, "pgd": 0.2},
        "attacked_examples": 16,
        "worst_after_poison": 0.25 if cell.settings.poison_count else None,
        "collapse": [{"collapsed": True}] * bool(cell.settings.poison_count),
        "hessian": {"alignment": aligned, "spectral_radius": 7.5},
        "history": {"val_accuracy": curve},
        "seconds_per_step": 0.1,
        "steps": 10,
    }
    if failed:
        return grid.Outcome(cell=cell, folder="", reason="it failed")
    return grid.Outcome(cell=cell, folder="", result=result)


def measured(name, effort):
    point = {"norm": "Linf", "accuracy": 0.5, "interval": [0.4, 0.6]}
    record = {"spectral_radius": 9.0, "printed_ratio": 0.5, "leading_share": 0.4}
    found = {
        "released": [{"protocol": "released", "attack": "fgsm", "accuracy": 0.6}],
        "worst_case": {
            "clean": {"images": 8},
            "worst_case": {"accuracy": 0.125, "interval": [0.02, 0.47]},
        },
        "curvature": {"spectra": {"training": {"clean": [record], "fgsm": [record]}}},
        "checklist": [
            {"number": 1, "name": "one step beats several", "passed": True},
            {"number": 3, "name": "a larger radius does not help", "passed": None},
        ],
        "epsilon_sweep": [
            {"attack": attack, "epsilon": epsilon, **point}
            for attack in ("fgsm", "pgd, transferred")
            for epsilon in (0.0, 8 / 255)
        ],
        "step_sweep": [{"attack": "pgd", "steps": steps, **point} for steps in (7, 10)],
        "growth": {"radius": {str(steps): 3.0 * steps for steps in effort.get("timesteps", ())}},
    }
    return {"effort": effort, "seconds": 1.0, "found": found[name]}


def outcomes_of(study, scale=SMOKE, failing=()):
    """Synthetic outcomes; those of the methods that fail are holes."""
    asked = {}
    for request in study.requests(scale):
        made = measured(request.name, measurements.effort_of(request, scale.effort))
        asked.setdefault(request.cell.fingerprint, {})[request.name] = made
    found = []
    for cell in study.cells(scale):
        outcome = synthetic(cell, cell.method in failing)
        given = asked.get(cell.fingerprint, {})
        if outcome.result is None:
            given = {name: {"reason": outcome.reason} for name in given}
        found.append(dataclasses.replace(outcome, measured=given))
    return found


def test_tables_share_runs():
    cells = {n: {c.fingerprint for c in each.cells(SMOKE)} for n, each in catalogue.STUDIES.items()}
    assert cells["2"] <= cells["1"] and cells["4"] <= cells["1"]
    # Two methods under two kinds of training, and the baseline's ANN counterpart, on two seeds.
    assert len(cells["1"] & cells["3"]) == 8 + 4
    requests = [r for each in catalogue.STUDIES.values() for r in each.requests(SMOKE)]
    assert {r.cell.fingerprint for r in requests} <= set().union(*cells.values())
    needed = {s.fingerprint for r in requests for s in r.substitutes}
    assert needed <= cells["4"]


@pytest.mark.parametrize("name", scales.NAMES)
def test_every_scale_has_the_cells_of_the_paper(name):
    scale = scales.find(name)
    for number, study in catalogue.STUDIES.items():
        cells = study.cells(scale)
        assert len({cell.fingerprint for cell in cells}) == len(cells), number
        assert {request.name for request in study.requests(scale)} <= set(measurements.NAMES)
    conditions = {grid.condition(cell.settings) for cell in catalogue.STUDIES["3"].cells(scale)}
    assert {"c", "p", "c/+p_0, 1 batch", "p/+c_0, 1 batch"} <= conditions
    assert "c/+p_0, 5 batches, poison released" in conditions
    seeds = {cell.settings.seed for cell in catalogue.STUDIES["1"].cells(scale)}
    assert len(seeds) >= (2 if name == "smoke" else 3)
    with pytest.raises(ValueError, match="scale must be one of smoke, cpu_small, cpu, gpu, paper"):
        scales.find("huge")


@pytest.mark.parametrize("number", catalogue.STUDIES)
def test_a_table_has_every_run_with_its_protocol(number):
    study = catalogue.STUDIES[number]
    outcomes = outcomes_of(study)
    found = study.table(outcomes)
    text = lines.markdown(found, study.title)
    assert "hole" not in text and "not measured" not in text
    assert {study.key(each.cell) for each in outcomes} <= {line.key for line in found}
    assert {"vgg5", "vgg5, ANN counterpart, rate 0.01"} == {line.network for line in found}
    assert all(len(line.values) == 2 and line.protocol for line in found)


@pytest.mark.parametrize("number", catalogue.STUDIES)
def test_a_table_shows_holes_with_their_reason(number):
    study = catalogue.STUDIES[number]
    # One table has the baseline alone.
    failing = "sgd" if study is growth.STUDY else "dep"
    found = study.table(outcomes_of(study, failing=(failing,)))
    missing = [line for line in found if line.method == failing]
    assert missing and all(line.ours == "it failed" for line in missing)
    assert "hole: it failed" in lines.markdown(found, study.title)
    # Nothing at all is there.
    empty = [grid.Outcome(cell=c, folder="", reason=grid.NOT_TRAINED) for c in study.cells(SMOKE)]
    lines.markdown(study.table(empty), study.title)


@pytest.mark.parametrize("number", catalogue.STUDIES)
def test_holes_of_a_table_say_which_runs_fill_them(number):
    study = catalogue.STUDIES[number]
    outcomes = outcomes_of(study)
    assert study.completing(study.table(outcomes)).cells(SMOKE) == []
    lost = [each for each in outcomes if each.cell.settings.seed == 1][0]
    named = dict.fromkeys(lost.measured, {"reason": "lost"})
    hole = dataclasses.replace(lost, result=None, reason="lost", measured=named)
    rest = study.completing(study.table([hole if each is lost else each for each in outcomes]))
    cells, asked = rest.cells(SMOKE), rest.requests(SMOKE)
    # Runs of one key share their lines, as those of several numbers of steps.
    filling = [c for c in study.cells(SMOKE) if study.key(c) == study.key(lost.cell)]
    filling = [cell for cell in filling if cell.settings.seed == 1]
    others = {cell.fingerprint for each in asked for cell in each.substitutes}
    assert {c.fingerprint for c in cells} == {c.fingerprint for c in filling} | others
    wanted = {each.fingerprint for each in filling}
    assert asked == [r for r in study.requests(SMOKE) if r.cell.fingerprint in wanted]


def test_a_method_that_needs_another_run_gets_it():
    (load,) = SMOKE.workloads
    study = catalogue.STUDIES["1"]
    # A method that came into the plan after the table was made.
    found = study.table(outcomes_of(study))
    scale = dataclasses.replace(SMOKE, workloads=(dataclasses.replace(load, rivals=("hosnn",)),))
    rest = study.completing(found)
    planned = [(each.method, each.settings.seed) for each in rest.cells(scale)]
    assert planned == [("sgd", 0), ("sgd", 1), ("hosnn", 0), ("hosnn", 1)]
    assert {request.cell.method for request in rest.requests(scale)} == {"hosnn"}


@pytest.mark.parametrize("number", catalogue.FIGURES)
@pytest.mark.parametrize("there", [True, False])
def test_a_figure_is_drawn_from_what_is_there(tmp_path, number, there):
    study = catalogue.FIGURES[number]
    outcomes = outcomes_of(study) if there else []
    drawn = study.figure(outcomes, number)
    curves = [line for axes in drawn.axes for line in axes.get_lines()]
    assert bool(curves) == there
    for ending in ("png", "svg"):
        drawn.savefig(tmp_path / f"figure.{ending}")
        assert (tmp_path / f"figure.{ending}").stat().st_size > 1000


def test_measurements_of_another_effort_are_made_again(tmp_path):
    out_dir = str(tmp_path)
    (request, *_) = catalogue.STUDIES["2"].requests(SMOKE)
    assert measurements.read(request, SMOKE.effort, out_dir) is None
    effort = measurements.effort_of(request, SMOKE.effort)
    (tmp_path / grid.RUNS / request.cell.fingerprint).mkdir(parents=True)
    measurements.records.write(request.path(out_dir), measured("curvature", effort))
    assert measurements.read(request, SMOKE.effort, out_dir)["seconds"] == 1.0
    assert measurements.read(request, scales.find("cpu").effort, out_dir) is None
    run = synthetic(request.cell)
    (attached,) = studies.attach([run], [request], SMOKE.effort, out_dir, {})
    assert attached.measured["curvature"]["found"]["spectra"]
    reasons = {(request.cell.fingerprint, "curvature"): "no memory"}
    other = dataclasses.replace(SMOKE.effort, curvature=scales.find("cpu").effort.curvature)
    (attached,) = studies.attach([run], [request], other, out_dir, reasons)
    assert attached.measured["curvature"] == {"reason": "no memory"}


def test_a_figure_that_a_network_cannot_have_is_measured_once(tmp_path, monkeypatch):
    out_dir = str(tmp_path)
    (request, *_) = catalogue.STUDIES["1"].requests(SMOKE)
    assert request.name == "released"
    run = types.SimpleNamespace(
        settings=request.cell.settings,
        model=models.build("vgg5", (8, 8, 1), 10, timesteps=2, neuron=layers.DLIF),
    )
    monkeypatch.setattr(measurements.curvature, "Run", lambda folder: run)
    monkeypatch.setattr(measurements.results, "finished", lambda folder: None)
    found = measurements.measure(request, SMOKE.effort, out_dir)
    assert found["reason"] == "the released attack needs weights that all steps share"
    assert measurements.finished(request, SMOKE.effort, out_dir)["reason"] == found["reason"]
    study = catalogue.STUDIES["1"]
    outcomes = studies.attach([synthetic(request.cell)], [request], SMOKE.effort, out_dir, {})
    (line,) = [each for each in study.table(outcomes) if each.quantity.startswith("released")][:1]
    assert line.values == () and line.holes == {request.cell.settings.seed: found["reason"]}
    # Measuring again would give the same: no hole to be filled.
    left = {cell.fingerprint for cell in study.completing([line]).cells(SMOKE)}
    assert left == {cell.fingerprint for cell in study.cells(SMOKE)} - {request.cell.fingerprint}
    # It tells nothing of the cost of others.
    other = dataclasses.replace(request, cell=request.cell.varied(seed=1))
    known = cost.estimate([*outcomes], [request, other], SMOKE.effort, out_dir)
    assert known.measured == 1 and "measurements" not in known.basis


def test_the_plan_counts_what_is_left(tmp_path):
    study = catalogue.STUDIES["1"]
    outcomes = [synthetic(cell) for cell in study.cells(SMOKE)]
    left = [grid.Outcome(cell=each.cell, folder="", reason="") for each in outcomes[:2]]
    found = cost.estimate(
        [*left, *outcomes[2:]], study.requests(SMOKE), SMOKE.effort, str(tmp_path)
    )
    assert found.finished == len(outcomes) - 2 and found.measured == 0
    # Steps with their share for Hessians, test images thrice in each of two epochs, and nine passes
    # of attacks.
    settings = left[0].cell.settings
    steps = 1.2 * grid.training_steps(settings, 192) + (2 * 48 / 3 + 16 * 8) / 16
    assert found.training == pytest.approx(2 * 0.1 * steps)
    assert found.measuring > 0 and "finished runs" in found.basis
    assert "measurements" not in found.basis
    assert sum(int(row[3]) for row in found.rows()) == len(outcomes)
    assert cost.spent(outcomes) == pytest.approx(len(outcomes))


def test_finished_measurements_tell_what_others_of_their_kind_cost(tmp_path):
    study, out_dir = catalogue.STUDIES["1"], str(tmp_path)
    outcomes = [synthetic(cell) for cell in study.cells(SMOKE)]
    requests = [
        request
        for request in study.requests(SMOKE)
        if request.name == "worst_case" and request.cell.settings.spiking
    ]

    def keep(request, seconds):
        record = measured("worst_case", measurements.effort_of(request, SMOKE.effort))
        (tmp_path / grid.RUNS / request.cell.fingerprint).mkdir(parents=True, exist_ok=True)
        measurements.records.write(request.path(out_dir), {**record, "seconds": seconds})

    sgd, *others = [each for each in requests if each.cell.settings.base == "clean"]
    keep(sgd, 7.0)
    found = cost.estimate(outcomes, [sgd, *others], SMOKE.effort, out_dir)
    assert found.measured == 1 and "finished measurements" in found.basis
    assert found.measuring == pytest.approx(7.0 * len(others))
    # Those of the same method come first.
    dep, *same = [each for each in others if each.cell.method == "dep"]
    keep(dep, 100.0)
    found = cost.estimate(outcomes, [sgd, dep, *same], SMOKE.effort, out_dir)
    assert found.measured == 2 and found.measuring == pytest.approx(100.0 * len(same))


def test_the_radius_of_the_worst_case_is_that_of_the_data(tmp_path):
    small, *_ = scales.find("cpu").workloads
    radii = {
        request.cell.settings.dataset: measurements.effort_of(request, SMOKE.effort)["radius"]
        for request in catalogue.STUDIES["1"].requests(scales.find("cpu"))
        if request.name == "worst_case"
    }
    assert radii == {"digits": small.radius, "cifar10": 8} and small.radius != 8


def test_images_come_from_another_seed_and_from_the_counterpart():
    requests = catalogue.STUDIES["4"].requests(SMOKE)
    others = [each for each in requests if each.name in ("epsilon_sweep", "checklist")]
    assert {each.cell.settings.spiking for each in others} == {True, False}
    for each in others:
        sibling, counterpart = each.substitutes
        assert sibling == each.cell.varied(seed=1 - each.cell.settings.seed)
        rate = 0.1 if counterpart.settings.spiking else 0.01
        assert counterpart.settings == dataclasses.replace(
            each.cell.settings, spiking=not each.cell.settings.spiking, learning_rate=rate
        )
        assert counterpart.method == "sgd"


def test_the_small_scale_has_every_method_and_control_in_every_cell():
    small = scales.find("cpu_small")
    cells = catalogue.STUDIES["1"].cells(small)
    spiking = [cell for cell in cells if cell.settings.spiking]
    methods = {"sgd", "dep", "sam", "random_rank_one", *scales.RIVALS, *scales.CONTROLS}
    assert len(methods) == 18
    trained = {(cell.method, cell.settings.base, cell.settings.seed) for cell in spiking}
    assert trained == set(itertools.product(methods, ("clean", "adversarial"), range(3)))
    conditions: dict[tuple[str, bool], set[str]] = {}
    for cell in catalogue.STUDIES["3"].cells(small):
        key = cell.method, cell.settings.spiking
        conditions.setdefault(key, set()).add(grid.condition(cell.settings))
    assert set(conditions) == {(name, True) for name in small.workloads[0].core} | {("sgd", False)}
    assert len(set(map(frozenset, conditions.values()))) == 1 and len(conditions["dep", True]) == 6


def test_table_1_has_intervals_radius_and_time():
    study = catalogue.STUDIES["1"]
    (cell, *_) = study.cells(SMOKE)
    effort = {"suite": "quick", "radius": 8}
    record = {**measured("worst_case", effort), "effort": effort}
    run = dataclasses.replace(synthetic(cell), measured={"worst_case": record})
    found = {line.quantity: line.values for line in study.table([run])}
    assert found["worst-case accuracy (%)"] == (12.5,)
    assert found["worst-case accuracy, lower end of the 95 % interval (%)"] == (2.0,)
    assert found["worst-case accuracy, upper end of the 95 % interval (%)"] == (47.0,)
    assert found["spectral radius"] == (7.5,) and found["seconds per step"] == (0.1,)
    # Without a Hessian in training there is no line.
    bare = dataclasses.replace(run, result={**run.result, "hessian": None})
    assert "spectral radius" not in {line.quantity for line in study.table([bare])}


def test_side_conditions_train_on_the_first_seeds_alone():
    (load,) = SMOKE.workloads
    load = dataclasses.replace(load, rivals=("feel",), fixed_images=True, side_seeds=1)
    scale = dataclasses.replace(SMOKE, workloads=(load,))
    cells = [cell for name in ("1", "3") for cell in catalogue.STUDIES[name].cells(scale)]
    side = [
        cell
        for cell in cells
        if cell.method == "feel" or cell.settings.poison_epoch or not cell.settings.poison_resample
    ]
    assert {cell.method for cell in side} == {"sgd", "dep", "feel"}
    assert {cell.settings.seed for cell in side} == {0}
    assert {cell.settings.seed for cell in cells if cell not in side} == {0, 1}
    asked = [request.cell for request in catalogue.STUDIES["1"].requests(scale)]
    assert {cell.settings.seed for cell in asked if cell.method == "feel"} == {0}
