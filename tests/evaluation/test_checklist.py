"""The checklist clears honest networks and catches three kinds that hide their gradients."""

import json

import keras
import numpy as np
import pytest
from keras import ops

from keras_dep.evaluation import accuracy
from keras_dep.evaluation import checklist
from keras_dep.evaluation import checklist_table
from keras_dep.evaluation.obfuscation import CHECKS
from tests.evaluation.conftest import bars
from tests.evaluation.conftest import network
from tests.evaluation.conftest import train

SEEDS = (0, 1, 2)
SMALL = dict(epsilon=0.06, steps=10, restarts=2, queries=100, draws=30, batch_size=32)
STRONG = {**SMALL, "epsilon": 0.12, "restarts": 1}


def behind(function, model):
    """The model behind a function of the pixels that spoils their gradient."""
    inputs = keras.Input(model.input_shape[1:])
    return keras.Model(inputs, model(keras.layers.Lambda(function)(inputs)))


@pytest.fixture(scope="module")
def data():
    return bars(32, seed=11)


@pytest.fixture(scope="module")
def trained(honest):
    """Weights of networks that differ in the seed of their training."""
    return [
        honest.get_weights(),
        *(train(network(), seed=seed).get_weights() for seed in SEEDS[1:]),
    ]


@pytest.fixture(scope="module")
def candidate():
    """What takes those weights, so that little is compiled."""
    return network()


@pytest.fixture(scope="module")
def quantised(candidate):
    return behind(lambda x: ops.floor(x * 12) / 12, candidate)


@pytest.fixture(scope="module")
def narrow():
    return network(width=1e-4)


def failed(results):
    return {result["number"] for result in results if result["passed"] is False}


def test_an_honest_network_is_cleared(candidate, trained, data):
    candidate.set_weights(trained[0])
    substitute = train(network(), seed=6)
    results = checklist(candidate, *data, substitutes=[substitute], **SMALL)
    assert failed(results) == set(), checklist_table(results)
    by_number = {result["number"]: result for result in results}
    assert list(by_number) == list(CHECKS)
    assert [number for number, result in by_number.items() if result["passed"] is None] == [11, 16]
    assert by_number[3]["measured"]["at_0"] == by_number[3]["measured"]["clean"] > 0.9
    assert by_number[2]["measured"]["transfer_1"] > by_number[2]["measured"]["white_box"]
    assert by_number[4]["measured"] == {"from noise": 1.0, "from another class": 1.0}
    assert 0.3 < by_number[7]["measured"]["mean_cosine"] < 1
    assert by_number[12]["measured"]["spsa"] < by_number[3]["measured"]["clean"]
    along = by_number[13]["measured"]
    assert along["gradient_1"] > along["gradient_0.5"] > along["clean"] > along["random_1"] - 0.1
    text = checklist_table(results)
    assert text.count("| yes |") == len(CHECKS) - 2 and text.count("not applicable") == 2


@pytest.mark.parametrize("seed", SEEDS[1:])
def test_so_are_others(candidate, trained, data, seed):
    candidate.set_weights(trained[seed])
    results = checklist(candidate, *data, checks=(1, 2, 5, 7, 8, 9, 10, 12, 13, 14, 15), **SMALL)
    assert failed(results) == set(), checklist_table(results)


@pytest.mark.parametrize("seed, numbers", [(0, {2, 4, 7, 13}), (1, {2, 7, 13})])
def test_quantised_input_is_caught(quantised, candidate, trained, data, seed, numbers):
    candidate.set_weights(trained[seed])
    results = checklist(quantised, *data, checks=sorted(numbers), **STRONG)
    assert failed(results) == numbers
    assert results[-2]["measured"]["zero_images"] == 1
    assert checklist_table(results).count("**no**") == len(results)


@pytest.mark.parametrize("seed", SEEDS[:2])
def test_a_vanishing_surrogate_is_caught(narrow, trained, data, seed):
    narrow.set_weights(trained[seed])
    results = checklist(narrow, *data, checks=(2, 7, 8, 10, 12, 14), **STRONG)
    assert failed(results) == {2, 7, 8, 10, 12, 14}
    # The other surrogates see what this one hides.
    measured = results[2]["measured"]
    assert measured["trained"] - measured["arctan"] > 0.2


@pytest.mark.parametrize("seed", SEEDS[:2])
def test_saturated_input_is_caught(data, seed):
    # The kink stands where bright results part from the background.
    model = train(network(scale=1.0), epochs=1, seed=seed)
    spoilt = behind(lambda x: 0.5 + 0.5 * ops.tanh(1000 * (x - 0.6)), model)
    spoilt.compile(keras.optimizers.Adam(0.01), loss=model.loss)
    spoilt.fit(*bars(256, 0), batch_size=64, epochs=10, verbose=0)
    results = checklist(spoilt, *data, checks=(2, 7), **STRONG)
    assert accuracy.right(spoilt, *data).mean() > 0.8
    assert failed(results) == {2, 7}


def test_a_check_tells_its_counts_and_what_chance_makes_of_them(candidate, trained, data):
    candidate.set_weights(trained[0])
    x, y = data
    results = checklist(candidate, x, y, checks=[1], **SMALL)
    (against, alone) = results[0]["evidence"]
    assert alone["of"] == 32 and alone["interval"][0] <= alone["count"] / 32
    assert results[0]["passed"] and results[0]["evidence"][0]["limit"] == 0.5
    assert against["p_value"] > 0.01


def test_a_stopped_checklist_goes_on_where_it_was(candidate, trained, data, tmp_path, monkeypatch):
    candidate.set_weights(trained[0])
    path, measured, checks = tmp_path / "checklist.json", [], dict(CHECKS)

    def noted(number):
        def check(context):
            if measured == [1, 7]:
                raise KeyboardInterrupt
            measured.append(number)
            return checks[number](context)

        return check

    for number in CHECKS:
        monkeypatch.setitem(CHECKS, number, noted(number))
    options = dict(checks=(1, 7, 15), file=path, **SMALL)
    with pytest.raises(KeyboardInterrupt):
        checklist(candidate, *data, **options)
    assert [result["number"] for result in json.loads(path.read_text())["checks"]] == [1, 7]
    measured.clear()
    results = checklist(candidate, *data, **options)
    assert measured == [15] and [result["number"] for result in results] == [1, 7, 15]
    for number, check in checks.items():
        monkeypatch.setitem(CHECKS, number, check)
    whole = checklist(candidate, *data, checks=(15, 7, 1), **SMALL)
    assert json.loads(json.dumps(whole[::-1])) == json.loads(path.read_text())["checks"] == results
    # Of another significance only the verdict is.
    assert checklist(candidate, *data, **options, significance=1e-9)[0]["measured"] == measured_of(
        results, 1
    )
    candidate.set_weights(trained[1])
    with pytest.raises(ValueError, match="holds a checklist with weights=.*choose another file"):
        checklist(candidate, *data, **options)
    path.write_text("[]")
    with pytest.raises(ValueError, match="is not a checklist; choose another file"):
        checklist(candidate, *data, **options)


def measured_of(results, number):
    return next(result["measured"] for result in results if result["number"] == number)


def test_bad_arguments(candidate):
    with pytest.raises(ValueError, match="one image and one label each"):
        checklist(candidate, np.zeros((0, 6, 6, 1)), np.zeros(0, "int32"))
    one = np.zeros((1, 6, 6, 1)), np.zeros(1, "int32")
    with pytest.raises(ValueError, match=r"checks must be among \[1, .*; received \[99\]"):
        checklist(candidate, *one, checks=[99])
    with pytest.raises(ValueError, match=r"significance must lie in \(0, 1\); received 0"):
        checklist(candidate, *one, significance=0)
