"""States of other runs are refused in one line, and the model is left unchanged."""

import re

import keras
import numpy as np
import pytest

from keras_dep.callbacks.resume import ResumeState
from tests.support.small_run import FEATURES
from tests.support.small_run import OPTIMIZERS
from tests.support.small_run import Count
from tests.support.small_run import bits
from tests.support.small_run import build
from tests.support.small_run import read
from tests.support.small_run import refused
from tests.support.small_run import save
from tests.support.small_run import train
from tests.support.small_run import write


def test_other_model_is_refused_and_left_alone(saved_path):
    model = build(width=5)
    before = bits(model)
    refused(
        lambda: ResumeState(saved_path).restore(model),
        re.escape(saved_path),
        r"kernel float32\[6, 4\]",
        r"kernel float32\[6, 5\]",
        "same model",
    )
    assert bits(model)[: len(model.variables)] == before[: len(model.variables)]


def test_deeper_model_is_refused(saved_path):
    model = build()
    deeper = keras.Sequential([*model.layers, keras.layers.Dense(2)])
    deeper.build((None, FEATURES))
    deeper.compile(OPTIMIZERS["momentum"](), "mse")
    refused(lambda: ResumeState(saved_path).restore(deeper), "no variable there|float32")


def test_other_optimizers_are_refused(saved_path):
    state = ResumeState(saved_path)
    refused(lambda: state.restore(build(optimizer="adam")), "SGD", "Adam", "same optimizer")
    model = build()
    model.compile(keras.optimizers.SGD(0.05), "mse")
    refused(lambda: state.restore(model), "another optimizer", "momentum", "no variable there")


@pytest.mark.parametrize(
    ("received", "patterns"),
    [
        ({"flags": {"seed": 1, "rate": 0.1}}, (r"metadata\.flags\.seed=0", "received 1")),
        ({"flags": {"seed": 0}}, (r"flags\.rate=0\.1", "received 'absent'")),
        (None, (r"metadata\.flags=", "'absent'")),
    ],
)
def test_other_metadata_is_refused(path, received, patterns):
    metadata = {"flags": {"seed": 0, "rate": 0.1}, "sizes": (1, 2)}
    save(path, metadata=metadata)
    assert ResumeState(path, metadata=metadata).restore(build()) == 1
    received = received and {**received, "sizes": [1, 2]}
    refused(lambda: ResumeState(path, metadata=received).restore(build()), *patterns)


def test_other_callbacks_are_refused(path):
    save(path, callbacks=[Count()])
    refused(lambda: ResumeState(path).restore(build()), "Count", "same callbacks")
    refused(lambda: ResumeState(path, {"other": Count()}).restore(build()), "other")


def test_state_in_the_way_of_a_fresh_run_is_refused(saved_path):
    before = read(f"{saved_path}.0")
    refused(lambda: train(build(), 1, [ResumeState(saved_path)]), "restore", r"state\.0")
    state = ResumeState(saved_path, metadata={"seed": 1})
    refused(lambda: state.restore(build()), "seed")
    refused(lambda: train(build(), 1, [state]), "restore")
    assert read(f"{saved_path}.0") == before


def test_wrong_initial_epoch_is_refused(saved_path):
    model, state = build(), ResumeState(saved_path)
    state.restore(model)
    refused(lambda: train(model, 3, [state]), "initial_epoch=2", "received epoch 0")


def test_two_damaged_generations_are_refused(saved_path):
    for name in (0, 1):
        write(f"{saved_path}.{name}", b"torn")
    refused(lambda: ResumeState(saved_path).restore(build()), r"state\.0", r"state\.1", "remove")


def test_models_that_are_not_ready_are_refused(saved_path):
    state = ResumeState(saved_path)
    unbuilt = keras.Sequential([keras.layers.Dense(2)])
    unbuilt.compile("sgd", "mse")
    refused(lambda: state.restore(unbuilt), "not built")
    uncompiled = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    refused(lambda: state.restore(uncompiled), "not compiled")


@pytest.mark.parametrize(
    ("call", "pattern"),
    [
        (lambda: ResumeState(""), "path"),
        (lambda: ResumeState(3), "path"),
        (lambda: ResumeState("folder/"), "folder/"),
        (lambda: ResumeState("a", callbacks=[keras.callbacks.History()]), "History"),
        (lambda: ResumeState("a", data=np.zeros((9, 9))), "data"),
        (lambda: ResumeState("a", metadata={"a": object()}), "metadata"),
    ],
)
def test_bad_arguments_are_refused(call, pattern):
    refused(call, pattern)


def test_counters_that_are_not_json_are_refused(path):
    refused(lambda: save(path, callbacks=[Count(object())]), "get_state", "object")
