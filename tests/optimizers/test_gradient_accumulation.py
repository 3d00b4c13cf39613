"""Accumulation inside the wrappers: the mean is transformed, once, when its last part has come."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_dep import DEP
from keras_dep import CoupledWeightDecay
from tests.optimizers.test_optimizers import apply
from tests.optimizers.test_optimizers import arrays
from tests.optimizers.test_optimizers import compiled_model
from tests.optimizers.test_optimizers import data
from tests.optimizers.test_optimizers import momentum_reference
from tests.support.native import JIT

PARTS = 3


def values(variables):
    return [ops.convert_to_numpy(variable) for variable in variables]


def test_equals_numpy_on_the_mean_of_the_parts():
    weights, parts = arrays(0), [arrays(seed) for seed in range(1, 2 * PARTS + 2)]
    variables = [keras.Variable(weight) for weight in weights]
    inner = CoupledWeightDecay(keras.optimizers.SGD(0.1, momentum=0.9), 0.01)
    optimizer = DEP(inner, gradient_accumulation_steps=PARTS)
    for number, gradients in enumerate(parts, start=1):
        before = values(variables)
        apply(optimizer, gradients, variables)
        assert int(optimizer.iterations) == number // PARTS
        changed = [(one != other).any() for one, other in zip(before, values(variables))]
        assert changed == [number % PARTS == 0] * len(variables)
    # The seventh part waits for its fellows.
    means = [
        [np.mean(same, axis=0) for same in zip(*parts[first : first + PARTS])]
        for first in (0, PARTS)
    ]
    for value, expected in zip(
        values(variables), momentum_reference(weights, means, 0.1, 0.9, 0.01)
    ):
        np.testing.assert_allclose(value, expected, atol=1e-5)


@pytest.mark.parametrize("jit_compile", JIT)
def test_fit_on_parts_equals_fit_on_whole_batches(jit_compile):
    x, y = data()
    whole = compiled_model(DEP(keras.optimizers.Adam(0.01)), jit_compile=jit_compile)
    accumulating = DEP(keras.optimizers.Adam(0.01), gradient_accumulation_steps=4)
    parts = compiled_model(accumulating, jit_compile=jit_compile)
    parts.set_weights(whole.get_weights())
    whole.fit(x, y, batch_size=32, shuffle=False, verbose=0)
    parts.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    for one, other in zip(whole.get_weights(), parts.get_weights()):
        np.testing.assert_allclose(one, other, atol=2e-5)


def test_missing_gradients_are_left_out():
    variables = [keras.Variable(weight) for weight in arrays(0)]
    optimizer = DEP(keras.optimizers.SGD(0.1), gradient_accumulation_steps=2)
    before = values(variables)
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        for seed in (1, 2):
            gradients = [ops.convert_to_tensor(gradient) for gradient in arrays(seed)]
            optimizer.apply([None, *gradients[1:]], variables)
    changed = [(one != other).any() for one, other in zip(before, values(variables))]
    assert changed == [False, True, True, True]


def test_half_a_sum_survives_saving(tmp_path):
    x, y = data()
    accumulating = DEP(keras.optimizers.SGD(0.1, momentum=0.9), gradient_accumulation_steps=3)
    model = compiled_model(accumulating)
    model.fit(x, y, batch_size=16, shuffle=False, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for each in (model, loaded):
        each.fit(x, y, batch_size=16, shuffle=False, verbose=0)
    for one, other in zip(model.get_weights(), loaded.get_weights()):
        np.testing.assert_array_equal(one, other)


def test_weights_overwritten_by_their_gradient_are_refused():
    variable = keras.Variable(np.ones((4, 3), "float32"))
    variable.overwrite_with_gradient = True
    with pytest.raises(ValueError, match="added to weights; received .*; use a larger batch"):
        DEP("sgd", gradient_accumulation_steps=2).build([variable])
