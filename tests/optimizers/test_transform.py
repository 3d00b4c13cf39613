"""A wrapper answers as the optimizer inside would, however deep it lies."""

import keras
import numpy as np
import pytest
from keras import ops
from keras.optimizers import LossScaleOptimizer
from keras.optimizers import MultiOptimizer
from keras.optimizers import OptimizerMap

from keras_dep import DEP
from keras_dep import CoupledWeightDecay
from tests.optimizers.test_optimizers import apply
from tests.optimizers.test_optimizers import arrays
from tests.optimizers.test_optimizers import compiled_model
from tests.optimizers.test_optimizers import data
from tests.optimizers.test_optimizers import project

SHARED = {
    "learning_rate": 0.25,
    "weight_decay": 0.125,
    "clipnorm": 0.5,
    "use_ema": True,
    "ema_momentum": 0.75,
    "ema_overwrite_frequency": 3,
    "loss_scale_factor": 2.0,
}


def test_settings_are_read_and_set_inside():
    inner = keras.optimizers.SGD(**SHARED)
    for wrapper in (DEP(inner), DEP(DEP(inner))):
        assert {name: getattr(wrapper, name) for name in SHARED} == SHARED
        wrapper.build([keras.Variable(np.ones((4, 3)))])
        assert {name: getattr(wrapper, name) for name in SHARED} == SHARED
        assert not any("average" in variable.path for variable in wrapper._variables)
        for name in SHARED.keys() - {"use_ema"}:
            setattr(wrapper, name, 2 * SHARED[name])
            assert getattr(inner, name) == 2 * SHARED[name]
            setattr(inner, name, SHARED[name])
    several = DEP(MultiOptimizer(OptimizerMap(inner)))
    assert several.optimizers == [inner]
    assert not hasattr(DEP(inner), "optimizers")


def test_coupled_decay_tells_its_own_factor_and_spares_what_is_excluded():
    inner = CoupledWeightDecay(keras.optimizers.SGD(1.0, weight_decay=None), 0.25)
    optimizer = DEP(inner)
    assert inner.weight_decay == optimizer.weight_decay == 0.25
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    weights, gradients = arrays(0, [(6, 5), (5,)]), arrays(1, [(6, 5), (5,)])
    variables = [keras.Variable(w, name=n) for w, n in zip(weights, ("kernel", "bias"))]
    apply(optimizer, gradients, variables)
    for variable, weight, gradient, factor in zip(variables, weights, gradients, (0.25, 0.0)):
        expected = weight - project(gradient) - factor * weight
        np.testing.assert_allclose(ops.convert_to_numpy(variable), expected, atol=1e-5)


@pytest.mark.parametrize("steps", [None, 2])
def test_apply_gradients_tells_the_iterations(steps):
    inner = CoupledWeightDecay(keras.optimizers.SGD(0.1), 0.1)
    optimizer = DEP(inner, exclude=".", gradient_accumulation_steps=steps)
    variables = [keras.Variable(weight) for weight in arrays(0)]
    tensors = [ops.convert_to_tensor(gradient) for gradient in arrays(1)]
    told = [int(optimizer.apply_gradients(zip(tensors, variables))) for _ in range(4)]
    assert told == ([1, 2, 3, 4] if steps is None else [0, 1, 1, 2])


def test_a_gradient_for_each_variable_of_a_built_optimizer():
    variables = [keras.Variable(weight) for weight in arrays(0)]
    tensors = [ops.convert_to_tensor(gradient) for gradient in arrays(1)]
    optimizer = DEP(keras.optimizers.SGD(0.1))
    with pytest.raises(ValueError, match=r"apply\(\) must be given variables.*build"):
        optimizer.apply(tensors)
    with pytest.raises(ValueError, match="received 3 gradients for 4 variables"):
        optimizer.apply(tensors[:3], variables)
    with pytest.raises(ValueError, match="received 3 gradients for 4 variables"):
        optimizer.apply(tensors[:3])


def test_set_weights_reaches_the_inner_optimizer():
    one, other = (DEP(CoupledWeightDecay(keras.optimizers.Adam(0.1), 0.1)) for _ in range(2))
    variables = [keras.Variable(weight) for weight in arrays(0)]
    with pytest.raises(ValueError, match="built=False; call build"):
        other.set_weights([])
    for optimizer in (one, other):
        optimizer.build(variables)
    apply(one, arrays(1), variables)
    other.set_weights([ops.convert_to_numpy(variable) for variable in one.variables])
    for found, expected in zip(other.variables, one.variables):
        np.testing.assert_array_equal(ops.convert_to_numpy(found), ops.convert_to_numpy(expected))


def test_float64_weights_are_projected_in_float64():
    draw = np.random.default_rng(0)
    variable = keras.Variable(np.zeros((12, 7)), dtype="float64")
    if keras.backend.standardize_dtype(variable.value.dtype) != "float64":
        pytest.skip("JAX has no float64 here")
    gradient = draw.standard_normal((12, 7))
    DEP(CoupledWeightDecay(keras.optimizers.SGD(1.0), 0.1)).apply(
        [ops.convert_to_tensor(gradient, dtype="float64")], [variable]
    )
    u, s, vt = np.linalg.svd(gradient)
    expected = s[0] * np.outer(u[:, 0], vt[0]) - gradient
    np.testing.assert_allclose(ops.convert_to_numpy(variable), expected, atol=2e-6)


def averaging():
    return keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5)


def wrapped(inner):
    # Nothing to project, and so nothing to compile.
    return DEP(inner, exclude=".")


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: wrapped(CoupledWeightDecay(averaging(), 1e-3)),
        lambda: LossScaleOptimizer(wrapped(averaging())),
        lambda: MultiOptimizer(OptimizerMap(wrapped(averaging()))),
        lambda: wrapped(CoupledWeightDecay(MultiOptimizer(OptimizerMap(averaging())), 1e-3)),
    ],
    ids=["two wrappers", "loss scale", "among several", "around several"],
)
def test_averages_are_swapped_in_for_evaluation(optimizer):
    x, y = data()
    model = compiled_model(optimizer(), run_eagerly=True)
    model.fit(x, y, batch_size=64, verbose=0, shuffle=False)
    # One step: averages start as the weights behind it.
    after = model.get_weights()
    model.train_on_batch(x, y)
    later = model.get_weights()
    seen = []
    spy = keras.callbacks.LambdaCallback(on_test_end=lambda logs: seen.extend(model.get_weights()))
    swap = keras.callbacks.SwapEMAWeights()
    swap.set_model(model)
    model.evaluate(x, y, verbose=0, callbacks=[spy, swap])
    for one, two, average in zip(after, later, seen):
        np.testing.assert_allclose(average, (one + two) / 2, atol=1e-6)
    for one, other in zip(later, model.get_weights()):
        np.testing.assert_allclose(one, other, atol=1e-6)
