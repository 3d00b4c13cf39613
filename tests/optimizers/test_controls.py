"""Controls of DEP against NumPy's decomposition, and that their draws are part of their state."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_dep import optimizers
from tests.optimizers.test_optimizers import apply
from tests.optimizers.test_optimizers import arrays
from tests.optimizers.test_optimizers import compiled_model
from tests.optimizers.test_optimizers import data

SHAPES = ((6, 5), (5,), (3, 3, 2, 4))
CONTROLS = {
    "second": optimizers.SecondComponentRemoval,
    "random": lambda inner: optimizers.RandomRankOneRemoval(inner, seed=3),
    "noise": lambda inner: optimizers.RemovedEnergyNoise(inner, seed=3),
    "periodic": optimizers.PeriodicDEP,
    "clip": lambda inner: optimizers.GlobalNormClipping(inner, max_norm=0.5),
    "retraction": lambda inner: optimizers.OrthogonalRetraction(inner, beta=0.1, seed=3),
}


def changes(optimizer, gradients, updates=1):
    """By how much what the inner optimizer received differs from each gradient, per update."""
    variables = [keras.Variable(np.zeros_like(each)) for each in gradients]
    found, before = [], [np.zeros_like(each) for each in gradients]
    for _ in range(updates):
        apply(optimizer, gradients, variables)
        after = [ops.convert_to_numpy(each) for each in variables]
        found.append([g - (b - a) for g, a, b in zip(gradients, after, before)])
        before = after
    return found


def folded(gradient):
    return gradient.reshape(-1, gradient.shape[-1]).astype("float64")


def test_the_second_component_goes():
    gradients = arrays(0, SHAPES)
    optimizer = optimizers.SecondComponentRemoval(keras.optimizers.SGD(1.0))
    (found,) = changes(optimizer, gradients)
    for index, place in enumerate((0, 2)):
        u, s, vt = np.linalg.svd(folded(gradients[place]), full_matrices=False)
        removed = s[1] * np.outer(u[:, 1], vt[1])
        np.testing.assert_allclose(folded(found[place]), removed, atol=1e-5)
        np.testing.assert_allclose(optimizer.leading_value[index], s[1], rtol=1e-5)
        share = s[1] ** 2 / np.sum(s**2)
        np.testing.assert_allclose(optimizer.removed_energy[index], share, rtol=1e-5)
    assert not found[1].any()


@pytest.mark.parametrize("kind", ["random", "noise"])
def test_what_is_drawn_has_the_energy_of_the_leading_component(kind):
    gradients = arrays(1, SHAPES)
    optimizer = CONTROLS[kind](keras.optimizers.SGD(1.0))
    found = changes(optimizer, gradients, updates=2)
    for place in (0, 2):
        s = np.linalg.svd(folded(gradients[place]), compute_uv=False)
        drawn = [folded(each[place]) for each in found]
        for each in drawn:
            np.testing.assert_allclose(np.sum(each**2), s[0] ** 2, rtol=1e-4)
            if kind == "random":
                assert np.linalg.svd(each, compute_uv=False)[1] < 1e-4 * s[0]
                assert np.sum(each * folded(gradients[place])) > 0
        # Drawn anew at each step.
        assert abs(np.sum(drawn[0] * drawn[1])) < 0.9 * s[0] ** 2
    assert not found[0][1].any()


def test_every_second_update_projects():
    gradients = arrays(2, SHAPES)
    optimizer = optimizers.PeriodicDEP(keras.optimizers.SGD(1.0), every=2)
    first, second, third = changes(optimizer, gradients, updates=3)
    assert max(abs(each).max() for each in second) < 1e-6
    u, s, vt = np.linalg.svd(folded(gradients[0]), full_matrices=False)
    for each in (first, third):
        np.testing.assert_allclose(each[0], s[0] * np.outer(u[:, 0], vt[0]), atol=1e-5)


def test_a_period_of_one_is_dep():
    gradients = arrays(3, SHAPES)
    one, other = (
        changes(kind(keras.optimizers.SGD(1.0)), gradients)[0]
        for kind in (optimizers.DEP, lambda inner: optimizers.PeriodicDEP(inner, every=1))
    )
    for left, right in zip(one, other, strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("bound, factor", [(0.5, None), (1e6, 1.0), (float("inf"), 1.0)])
def test_the_global_norm_is_bounded(bound, factor):
    gradients = arrays(4, SHAPES)
    variables = [keras.Variable(np.zeros_like(each)) for each in gradients]
    clipping = optimizers.GlobalNormClipping(keras.optimizers.SGD(1.0), max_norm=bound)
    apply(clipping, gradients, variables)
    norm = np.sqrt(sum(np.sum(each.astype("float64") ** 2) for each in gradients))
    for variable, gradient in zip(variables, gradients):
        expected = -gradient * (bound / norm if factor is None else factor)
        np.testing.assert_allclose(variable, expected, rtol=1e-6)


def test_a_norm_that_overflows_is_no_zero_step():
    gradients = [np.full((2, 2), 1e30, "float32"), np.ones(3, "float32")]
    variables = [keras.Variable(np.zeros_like(each)) for each in gradients]
    apply(CONTROLS["clip"](keras.optimizers.SGD(1.0)), gradients, variables)
    assert all(np.isnan(ops.convert_to_numpy(each)).all() for each in variables)


@pytest.mark.parametrize("kind", CONTROLS)
def test_what_is_not_finite_stays_visible(kind):
    gradients = arrays(5, SHAPES)
    gradients[0][0, 0] = np.nan
    variables = [keras.Variable(np.zeros_like(each)) for each in gradients]
    apply(CONTROLS[kind](keras.optimizers.SGD(1.0)), gradients, variables)
    assert np.isnan(ops.convert_to_numpy(variables[0])).any()


@pytest.mark.parametrize("kind", CONTROLS)
def test_a_control_trains_saves_and_continues_bit_for_bit(kind, tmp_path):
    x, y = data()

    def trained(epochs, model=None):
        keras.utils.set_random_seed(0)
        inner = keras.optimizers.SGD(0.05, momentum=0.9)
        model = model or compiled_model(CONTROLS[kind](inner))
        model.fit(x, y, batch_size=32, epochs=epochs, shuffle=False, verbose=0)
        return model

    whole, half = trained(2), trained(1)
    half.save(tmp_path / "half.keras")
    loaded = keras.saving.load_model(tmp_path / "half.keras")
    config, again = (model.optimizer.get_config() for model in (half, loaded))
    assert type(loaded.optimizer) is type(whole.optimizer) and config == again
    for one, other in zip(whole.get_weights(), trained(1, loaded).get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_limits():
    with pytest.raises(ValueError, match="every must be at least 1; received 0"):
        optimizers.PeriodicDEP("sgd", every=0)
    with pytest.raises(ValueError, match="max_norm must be positive; received 0"):
        optimizers.GlobalNormClipping("sgd", max_norm=0)
