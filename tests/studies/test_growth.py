"""Growth with the time steps: radii that a network of one weight gives by hand, and exponents."""

import dataclasses

import keras
import numpy as np
import pytest

from keras_dep import layers
from keras_dep import models
from keras_dep.studies import claims
from keras_dep.studies import growth
from keras_dep.studies import measurements
from keras_dep.studies import scales
from keras_dep.studies import verdict
from tests.studies.test_studies import outcomes_of

SMOKE = scales.find("smoke")


@pytest.mark.parametrize("power", [0.0, 1.0, 2.5])
def test_an_exponent_is_that_of_a_power_law(power):
    radii = {steps: 0.3 * steps**power for steps in (1, 2, 4, 8, 16)}
    assert growth.exponent(radii) == pytest.approx(power, abs=1e-9)
    assert np.isnan(growth.exponent({**radii, 4: 0.0}))


def test_radii_become_exponents_and_a_verdict():
    # Radii of 3 T: linear growth, in networks trained at each T and with one set of weights.
    found = growth.table(outcomes_of(growth.STUDY))
    exponents = {
        (line.condition, line.quantity): line
        for line in found
        if line.quantity.startswith(growth.EXPONENT)
    }
    assert len(exponents) == 6
    assert {condition for condition, _ in exponents} == {
        f"c, {gradient}, {coding} coding"
        for gradient, coding in [("BPTT", "direct"), ("BPTT", "rate")]
        + [("detached membrane", "direct"), ("detached membrane", "rate")]
    }
    for line in exponents.values():
        assert line.values == pytest.approx((1.0, 1.0)) and line.seeds == (0, 1)
    counterparts = [line for line in found if "ANN" in line.network]
    assert [line.quantity for line in counterparts] == ["spectral radius"]
    (judged,) = [each for each in claims.judge(found) if each["number"] == 4]
    assert judged["correct"]["mean"] == pytest.approx(1.0)
    assert judged["verdict"] == verdict.OPEN  # two seeds
    thrice = [
        dataclasses.replace(line, seeds=(0, 1, 2), values=(1.0, 1.1, 0.9))
        for line in exponents.values()
    ]
    (judged,) = [each for each in claims.judge(thrice) if each["number"] == 4]
    assert judged["verdict"] == verdict.STANDS


def test_an_exponent_that_is_not_finite_is_a_hole():
    outcomes = outcomes_of(growth.STUDY)
    for run in outcomes:
        if run.cell.settings.seed == 1 and run.cell.settings.timesteps == 1:
            run.measured["growth"]["found"]["radius"]["1"] = 0.0
    found = [line for line in growth.table(outcomes) if line.condition == growth.BPTT]
    (line,) = [each for each in found if each.quantity == f"{growth.EXPONENT}, {growth.TRAINED}"]
    assert line.seeds == (0,) and line.values == pytest.approx((1.0,))
    assert line.holes == {1: "exponent of the radius in T is not finite"}


def test_a_network_at_another_number_of_steps_has_its_weights_and_its_radius():
    keras.utils.set_random_seed(3)
    parts = [
        keras.layers.Dense(4),
        layers.DirectEncoding(2),
        layers.LIF(2, tau=2.0),
        keras.layers.Dense(3),
        layers.UnfoldTime(2),
    ]
    model = keras.Sequential([keras.Input((5,)), *parts])
    wider = models.with_timesteps(model, 6)
    x = np.random.default_rng(0).random((8, 5), dtype="float32")
    short, long = (keras.ops.convert_to_numpy(each(x)) for each in (model, wider))
    assert long.shape == (8, 6, 3)
    # Steps do not see later ones.
    np.testing.assert_allclose(long[:, :2], short, atol=1e-6)
    model.layers[0].kernel.assign(model.layers[0].kernel * 0)
    assert np.any(keras.ops.convert_to_numpy(wider.layers[0].kernel))
    effort = SMOKE.effort
    run = type("Run", (), {"model": wider, "settings": type("S", (), {"timesteps": 6, "seed": 0})})
    request = measurements.Request(name="growth", cell=None, timesteps=(2, 6))
    radii = measurements._growth(run, x, np.arange(8) % 3, effort, request, ())["radius"]
    assert set(radii) == {"2", "6"} and all(radius > 0 for radius in radii.values())
    with pytest.raises(ValueError, match="model must have layers with time steps"):
        models.with_timesteps(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]), 2)
    fixed = [keras.Input((5,)), *parts[:2], layers.DLIF(2), *parts[3:]]
    with pytest.raises(ValueError, match="weights that all steps share.* with DLIF"):
        models.with_timesteps(keras.Sequential(fixed), 4)
    with pytest.raises(ValueError, match="timesteps must be"):
        models.with_timesteps(model, 0)
