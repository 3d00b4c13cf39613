"""The activity log in `fit`: progress bar, history and event file agree with the probe."""

import json

import keras
import numpy as np
import pytest

import keras_dep
from keras_dep.callbacks import ActivityLog
from keras_dep.summaries import EventWriter
from tests.support.event_files import read_scalars


def test_logs_history_and_event_file(tmp_path, capsys):
    neurons = keras_dep.LIF(2, threshold=0.2, name="neurons")
    head = [keras.layers.Dense(3, name="head"), keras_dep.UnfoldTime(2)]
    body = [keras.layers.Dense(6, name="body"), keras_dep.DirectEncoding(2), neurons]
    model = keras.Sequential([keras.Input((4,)), *body, *head])
    model.compile(keras.optimizers.SGD(0.1), keras_dep.MeanLogitCrossentropy())
    x = np.random.default_rng(0).random((8, 4)).astype("float32")
    with EventWriter(tmp_path) as writer:
        log = ActivityLog(x, writer)
        fitted = model.fit(x, np.arange(8) % 3, batch_size=4, epochs=2, callbacks=[log], verbose=2)
    now = keras_dep.profiling.ActivityProbe(model)(x)
    rates = [activity.spike_rate for activity in log.history]
    assert log.history[-1] == now and len(rates) == 2 and now.spike_rate > 0
    restored = ActivityLog(x)
    restored.set_state(json.loads(json.dumps(log.get_state())))
    assert restored.history == log.history
    assert fitted.history["spike_rate"] == rates
    assert fitted.history["energy_ratio"][-1] == now.energy_ratio
    assert "spike_rate" in capsys.readouterr().out
    scalars = read_scalars(tmp_path)
    assert [step for step, _ in scalars["activity/energy"]] == [2, 4]
    assert scalars["activity_rate/neurons"][-1][1] == pytest.approx(now.spike_rate, rel=1e-6)
    assert scalars["activity_accumulates/head"][-1][1] == pytest.approx(now.accumulates, rel=1e-6)
    below = scalars["membrane/neurons/+0"][-1][1]
    assert below == pytest.approx(1 - now.spike_rate, rel=1e-6)


def two_models():
    for threshold in (0.2, 5.0):
        keras.utils.set_random_seed(0)
        body = [keras_dep.DirectEncoding(2), keras.layers.Dense(6)]
        neurons = keras_dep.LIF(2, threshold=threshold)
        model = keras.Sequential(
            [keras.Input((4,)), *body, neurons, keras.layers.Dense(3), keras_dep.UnfoldTime(2)]
        )
        model.compile(keras.optimizers.SGD(0.1), keras_dep.MeanLogitCrossentropy())
        yield model


def test_it_measures_the_model_in_fit():
    x = np.random.default_rng(0).random((8, 4)).astype("float32")
    log, rates = ActivityLog(x), []
    for model in two_models():
        model.fit(x, np.arange(8) % 3, callbacks=[log], verbose=0)
        rates.append(keras_dep.profiling.ActivityProbe(model)(x).spike_rate)
    assert [activity.spike_rate for activity in log.history] == rates
    assert rates[0] > 0.1 > rates[1]


def test_it_follows_changed_layers():
    x = np.random.default_rng(0).random((8, 4)).astype("float32")
    model, silent = two_models()
    probe = keras_dep.profiling.ActivityProbe(model)
    before = probe(x).spike_rate
    neurons = next(layer for layer in model.layers if isinstance(layer, keras_dep.LIF))
    neurons.threshold = 5.0
    assert probe(x).spike_rate == keras_dep.profiling.ActivityProbe(silent)(x).spike_rate < before
    neurons.threshold = 0.2
    assert probe(x).spike_rate == before
