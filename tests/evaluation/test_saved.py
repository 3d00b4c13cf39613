"""Records of evaluations and checklists that a file holds: taken whole, or refused in one line."""

import copy
import json

import pytest

from keras_dep.evaluation import saved

SHARE = {"accuracy": 0.5, "interval": [0.1, 0.9], "correct": 1, "images": 2}
ROW = {
    "attack": "pgd",
    "counts": True,
    "attacked": 1,
    "broken": 1,
    "largest_change": 0.1,
    "non_finite_answers": 0,
    "seconds": 1.0,
}
FINISHED = {
    "protocol": {"attacks": {"pgd": {}}, "seed": 0},
    "finished": True,
    "left_out": [],
    "clean": {**SHARE, "non_finite_answers": 0},
    "broken_by": ["clean", "pgd"],
    "attacks": [{**ROW, **SHARE, "standing": 0}],
    "worst_case": SHARE,
    "gradients": {"zero_pixels": 0.0, "zero_images": 0, "non_finite_images": 0},
}
STOPPED = {
    **{name: value for name, value in FINISHED.items() if name not in ("worst_case", "gradients")},
    "finished": False,
    "attacks": [*FINISHED["attacks"], {**ROW, "targets": [1]}],
}
CHECKS = {
    "protocol": {"seed": 0},
    "checks": [
        {
            "number": 7,
            "name": "a",
            "criterion": "b",
            "measured": {"c": 1},
            "facts": None,
            "evidence": [{"what": "d", "count": 1, "of": 2, "interval": [0, 1], "p_value": 0.5}],
        }
    ],
}


def refusal(path, record, read=None):
    path.write_text(record if isinstance(record, str) else json.dumps(record))
    with pytest.raises(ValueError) as caught:
        (read or evaluation)(str(path), {"seed": 0})
    message = str(caught.value)
    assert message.startswith(f"{path} ") and "\n" not in message
    assert message.endswith("choose another file.")
    return message


def evaluation(path, protocol):
    return saved.evaluation(path).read(protocol)


def checklist(path, protocol):
    return saved.checklist(path).read(protocol)


def test_what_was_written_comes_back(tmp_path):
    path = tmp_path / "evaluation.json"
    assert evaluation(None, {}) is None and checklist(str(path), {}) is None
    for record, read in (
        (FINISHED, evaluation),
        (STOPPED, evaluation),
        (CHECKS, checklist),
    ):
        path.write_text(json.dumps(record))
        assert read(str(path), {"seed": 0}) == record
        assert "with seed=1" in refusal(
            path, {**record, "protocol": {**record["protocol"], "seed": 1}}, read
        )


@pytest.mark.parametrize("record", [FINISHED, STOPPED])
@pytest.mark.parametrize("name", sorted(FINISHED))
def test_a_value_that_is_missing_or_of_another_type_is_named(tmp_path, record, name):
    if name not in record:
        return
    path = tmp_path / "evaluation.json"
    orthogonalize = {key: value for key, value in record.items() if key != name}
    assert f"'{name}' is missing" in refusal(path, orthogonalize)
    assert f"'{name}' must be" in refusal(path, {**record, name: "x"})


@pytest.mark.parametrize(
    "place, value",
    [
        (("broken_by",), ["clean"]),
        (("clean", "interval"), [0.1]),
        (("attacks", 0, "interval"), [0.1, 0.2, 0.3]),
        (("attacks", 1, "targets"), [2]),
        (("attacks", 1, "targets"), [-1]),
    ],
)
def test_counts_that_do_not_fit_the_images(tmp_path, place, value):
    record = inner = copy.deepcopy(STOPPED)
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    message = refusal(tmp_path / "evaluation.json", record)
    assert "its counts do not fit its images" in message


def test_results_of_a_checklist(tmp_path):
    path = tmp_path / "checklist.json"
    for name in CHECKS["checks"][0]:
        check = {key: value for key, value in CHECKS["checks"][0].items() if key != name}
        assert f"'checks[0].{name}' is missing" in refusal(
            path, {**CHECKS, "checks": [check]}, checklist
        )
    assert "not whole JSON" in refusal(path, json.dumps(CHECKS)[:-9], checklist)


def test_keys_of_earlier_revisions_are_read(tmp_path):
    path = tmp_path / "checklist.json"
    old = {**CHECKS["checks"][0]}
    old["sign"] = old.pop("name")
    path.write_text(json.dumps({"protocol": CHECKS["protocol"], "rows": [old]}))
    assert checklist(path, {"seed": 0}) == CHECKS
    assert "'checks' must be" in refusal(path, {**CHECKS, "checks": 3}, checklist)
    assert "'checks[0]' must be" in refusal(path, {"protocol": {}, "rows": [3]}, checklist)
