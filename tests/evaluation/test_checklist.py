"""The checklist clears an honest network and catches three that hide their gradients."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_dep.evaluation import checklist
from keras_dep.evaluation import checklist_table
from keras_dep.evaluation import measure
from tests.evaluation.conftest import bars
from tests.evaluation.conftest import network
from tests.evaluation.conftest import train

SMALL = dict(epsilon=0.06, steps=20, restarts=3, queries=150, draws=30, batch_size=32)
STRONG = {**SMALL, "epsilon": 0.12, "steps": 10, "restarts": 1}


def behind(function, model):
    """The model behind a function of the pixels that spoils their gradient."""
    inputs = keras.Input(model.input_shape[1:])
    return keras.Model(inputs, model(keras.layers.Lambda(function)(inputs)))


@pytest.fixture(scope="module")
def data():
    return bars(32, seed=11)


def failed(rows):
    return {row["number"] for row in rows if row["passed"] is False}


def test_an_honest_network_is_cleared(honest, data):
    substitute = train(network(), seed=6)
    rows = checklist(honest, *data, substitutes=[substitute], **SMALL)
    assert failed(rows) == set(), checklist_table(rows)
    by_number = {row["number"]: row for row in rows}
    assert list(by_number) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 11]
    assert by_number[11]["passed"] is None
    assert by_number[3]["measured"]["at_0"] == by_number[3]["measured"]["clean"] > 0.9
    assert by_number[2]["measured"]["transfer_1"] > by_number[2]["measured"]["white_box"]
    text = checklist_table(rows)
    assert text.count("| yes |") == 9 and text.count("not applicable") == 1


def test_quantised_input_is_caught(honest, data):
    rows = checklist(
        behind(lambda x: ops.floor(x * 12) / 12, honest), *data, rows=(2, 4, 7), **STRONG
    )
    assert failed(rows) == {2, 4, 7}
    assert rows[2]["measured"]["zero_images"] == 1
    assert "**no**" in checklist_table(rows)


def test_saturated_input_is_caught(data):
    # The kink stands where bright rows part from the background.
    model = train(network(scale=1.0), epochs=1)
    spoilt = behind(lambda x: 0.5 + 0.5 * ops.tanh(1000 * (x - 0.6)), model)
    spoilt.compile(keras.optimizers.Adam(0.01), loss=model.loss)
    spoilt.fit(*bars(256, 0), batch_size=64, epochs=10, verbose=0)
    rows = checklist(spoilt, *data, rows=(2, 7), **STRONG)
    assert measure.right(spoilt, *data).mean() > 0.8
    assert failed(rows) == {2, 7}


def test_a_vanishing_surrogate_is_caught(honest, data):
    narrow = network(width=1e-4)
    narrow.set_weights(honest.get_weights())
    rows = checklist(narrow, *data, rows=(2, 4, 7, 8), **STRONG)
    assert failed(rows) == {2, 4, 7, 8}
    # The other surrogates see what this one hides.
    measured = rows[3]["measured"]
    assert measured["trained"] - measured["arctan"] > 0.2


def test_bad_data(honest):
    with pytest.raises(ValueError, match="one image and one label each"):
        checklist(honest, np.zeros((0, 6, 6, 1)), np.zeros(0, "int32"))
    with pytest.raises(ValueError, match=r"rows must be among \[1, .*; received \[10\]"):
        checklist(honest, np.zeros((1, 6, 6, 1)), np.zeros(1, "int32"), rows=[10])
