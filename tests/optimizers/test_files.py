"""Saved optimizers: each number once, and those of version 0.1.0 load."""

import json
import zipfile

import h5py
import keras
import numpy as np
import pytest
from keras import ops

from keras_dep import DEP
from keras_dep import CoupledWeightDecay
from keras_dep.optimizers.base import GradientTransform
from tests.optimizers.test_optimizers import compiled_model
from tests.optimizers.test_optimizers import data


def trained(optimizer, **options):
    x, y = data()
    model = compiled_model(optimizer, **options)
    model.fit(x, y, batch_size=32, shuffle=False, verbose=0)
    return model


def assert_equal(one, other):
    assert len(one) == len(other)
    for found, expected in zip(one, other):
        np.testing.assert_array_equal(ops.convert_to_numpy(found), ops.convert_to_numpy(expected))


def numbers(path):
    """How many numbers a file of weights holds."""
    sizes = []
    with h5py.File(path) as file:
        file.visititems(lambda _, item: sizes.append(getattr(item, "size", 0)))
    return sum(sizes)


def test_moments_are_stored_once(tmp_path):
    model = trained(DEP(CoupledWeightDecay(keras.optimizers.AdamW(0.01), 1e-3)))
    model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as file:
        file.extract("model.weights.h5", tmp_path)
    variables = [*model.variables, *model.optimizer.variables]
    assert numbers(tmp_path / "model.weights.h5") == sum(np.prod(v.shape) for v in variables)
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert_equal(loaded.optimizer.variables, model.optimizer.variables)


def test_files_of_version_0_1_0_load(tmp_path, monkeypatch):
    model = trained(DEP(CoupledWeightDecay(keras.optimizers.AdamW(0.01), 1e-3)))
    with monkeypatch.context() as patch:
        # It stored the variables of all that lies inside, and its own pattern.
        patch.setattr(
            GradientTransform, "save_own_variables", keras.optimizers.Optimizer.save_own_variables
        )
        config = DEP.get_config
        patch.setattr(
            DEP,
            "get_config",
            lambda self: {
                **{k: v for k, v in config(self).items() if k != "output_axes"},
                "depthwise": "depthwise",
            },
        )
        model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as file:
        stored = json.loads(file.read("config.json"))["compile_config"]["optimizer"]["config"]
    assert stored["depthwise"] == "depthwise" and "output_axes" not in stored
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert_equal(loaded.optimizer.variables, model.optimizer.variables)
    x, y = data()
    for each in (model, loaded):
        each.fit(x, y, batch_size=32, shuffle=False, verbose=0)
    assert_equal(loaded.get_weights(), model.get_weights())


def test_numbers_of_weights_that_were_projected_then_are_left_out(tmp_path):
    model = trained(DEP(keras.optimizers.Adam(0.01), exclude="dense"), run_eagerly=True)
    model.save_weights(tmp_path / "model.weights.h5")
    other = compiled_model(DEP(keras.optimizers.Adam(0.01)))
    other.optimizer.build(other.trainable_variables)
    with pytest.warns(UserWarning, match=r"removed_energy is not loaded.*\(2,\).*\(0,\)"):
        other.load_weights(tmp_path / "model.weights.h5")
    assert not ops.convert_to_numpy(other.optimizer.removed_energy).any()
    assert_equal(
        other.optimizer.inner_optimizer.variables, model.optimizer.inner_optimizer.variables
    )


def test_a_pattern_for_depthwise_kernels_is_said_to_be_gone():
    config = {**DEP("sgd").get_config(), "depthwise": "mixer"}
    with pytest.warns(UserWarning, match=r"no longer takes depthwise='mixer'.*output_axes"):
        assert isinstance(DEP.from_config(config), DEP)
