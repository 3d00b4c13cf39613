"""Accuracy on corrupted images against counting, and the mean error against its formula."""

import json

import keras
import numpy as np
import pytest

from keras_dep.evaluation import corruption_report
from keras_dep.evaluation import corruptions

NAMES, SEVERITIES = ["fog", "snow", "frost"], [1, 3]


@pytest.fixture
def model():
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])


def images_under(corruption, severity):
    rng = np.random.default_rng([NAMES.index(corruption), severity])
    return rng.random((20, 6), "float32"), rng.integers(0, 3, 20)


def evaluated(model, load=images_under, **given):
    clean = images_under("fog", 0)
    return corruptions.evaluate_corruptions(
        model, *clean, load, NAMES, SEVERITIES, verbose=0, **given
    )


def test_every_point_counts_right_answers(model):
    found = evaluated(model)
    places = [(point["corruption"], point["severity"]) for point in found["points"]]
    assert places == [(name, severity) for name in NAMES for severity in SEVERITIES]
    errors = np.zeros((3, 2))
    for index, point in enumerate(found["points"]):
        images, labels = images_under(point["corruption"], point["severity"])
        kernel, bias = (np.asarray(each, "float64") for each in model.get_weights())
        right = (images @ kernel + bias).argmax(1) == labels
        assert point["correct"] == right.sum() and point["images"] == 20
        errors[divmod(index, 2)] = 1 - right.mean()
    mean = corruptions.mean_corruption_error(found["points"])
    np.testing.assert_allclose(mean, errors.mean(), rtol=1e-12)
    # The source's formula: ratios of sums over severities, and their mean over corruptions.
    other = [{**point, "accuracy": 0.1 * k} for k, point in enumerate(found["points"])]
    others = 1 - np.array([point["accuracy"] for point in other]).reshape(3, 2)
    normalised = corruptions.mean_corruption_error(found["points"], other)
    np.testing.assert_allclose(normalised, np.mean(errors.sum(1) / others.sum(1)), rtol=1e-12)
    assert corruptions.mean_corruption_error(other, other) == 1
    text = corruption_report.corruptions_markdown(found, {"points": other}, "another.json")
    assert f"not normalised by a baseline: {100 * mean:.2f} %" in text
    assert f"normalised by the errors of another.json: {100 * normalised:.2f} %" in text


def test_an_interrupted_evaluation_goes_on(model, tmp_path):
    calls = []

    def breaking(corruption, severity):
        calls.append((corruption, severity))
        if len(calls) == 3:
            raise OSError("the disk is away")
        return images_under(corruption, severity)

    path = tmp_path / "corruptions.json"
    with pytest.raises(OSError, match="away"):
        evaluated(model, breaking, file=path)
    with pytest.raises(ValueError, match="corruptions.json is not finished"):
        corruptions.read_points(path)
    found = evaluated(model, breaking, file=path)
    assert len(calls) == 3 + 4 and calls[2] == calls[3]
    whole = evaluated(model)
    assert found["points"] == whole["points"] and found["finished"]
    assert corruptions.read_points(path)["points"] == whole["points"]
    # A finished one reads nothing.
    assert evaluated(model, None, file=path)["points"] == whole["points"]
    model.set_weights([2 * each for each in model.get_weights()])
    with pytest.raises(ValueError, match="holds an evaluation of corruptions with weights="):
        evaluated(model, file=path)


def test_bad_baselines_and_requests_are_one_line(model, tmp_path):
    points = evaluated(model)["points"]
    for baseline, words in (
        (points[1:], "received none for fog 1"),
        ([{**each, "accuracy": 1.0} for each in points], "errors under each corruption"),
    ):
        with pytest.raises(ValueError, match=words):
            corruptions.mean_corruption_error(points, baseline)
    with pytest.raises(ValueError, match="nowhere.json is not there"):
        corruptions.read_points(tmp_path / "nowhere.json")
    (tmp_path / "other.json").write_text(json.dumps({"accuracy": 1}))
    with pytest.raises(ValueError, match="other.json.*name a corruptions.json"):
        corruptions.read_points(tmp_path / "other.json")
    with pytest.raises(ValueError, match="corruptions and severities must have at least one"):
        corruptions.evaluate_corruptions(model, *images_under("fog", 0), images_under, [], [1])
    with pytest.raises(ValueError, match="facts must not replace what is measured.*weights"):
        evaluated(model, facts={"weights": "net.pth", "author": "us"})


def test_answers_that_are_not_finite_are_errors(model):
    kernel, bias = model.get_weights()
    model.set_weights([kernel, np.full_like(bias, np.nan)])
    found = evaluated(model)
    assert corruptions.mean_corruption_error(found["points"]) == 1
    text = corruption_report.corruptions_markdown(found)
    assert "errors: clean 20, fog 1 20" in text.replace("  ", " ")
