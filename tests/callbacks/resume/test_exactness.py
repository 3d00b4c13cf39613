"""A resumed run against an uninterrupted one, bit for bit."""

import os
import shutil
import types

import keras
import numpy as np
import pytest

from keras_dep.callbacks.resume import ResumeState
from tests.faults.resume_worker import AtBatch
from tests.support.small_run import BATCHES
from tests.support.small_run import OPTIMIZERS
from tests.support.small_run import Count
from tests.support.small_run import bits
from tests.support.small_run import build
from tests.support.small_run import read
from tests.support.small_run import save
from tests.support.small_run import scramble
from tests.support.small_run import train


def break_off():
    raise RuntimeError("broken off")


@pytest.mark.parametrize(
    ("optimizer", "dtype"),
    [*((name, "float32") for name in OPTIMIZERS), ("adam", "bfloat16"), ("adam", "mixed_bfloat16")],
)
def test_every_variable_comes_back_bit_for_bit(path, optimizer, dtype):
    model = save(path, build(optimizer=optimizer, dtype=dtype))
    other = build(seed=1, optimizer=optimizer, dtype=dtype)
    assert ResumeState(path).restore(other) == 1
    assert bits(other) == bits(model)
    assert int(other.optimizer.iterations) == int(model.optimizer.iterations) > 0
    if dtype == "bfloat16":
        assert any(name == "bfloat16" for _, name, _ in bits(other))


@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
def test_resumed_run_equals_unbroken_run(path, tmp_path, optimizer):
    unbroken = build(optimizer=optimizer, eager=False)
    whole = ResumeState(tmp_path / "whole" / "state", callbacks=[count := Count()])

    def leave_behind(epoch, logs):
        # What a kill in the third epoch would leave.
        if epoch == 1:
            shutil.copytree(tmp_path / "whole", tmp_path, dirs_exist_ok=True)

    leaving = keras.callbacks.LambdaCallback(on_epoch_end=leave_behind)
    train(unbroken, 4, [count, whole, leaving])

    resumed = build(seed=7, optimizer=optimizer, eager=False)
    state = ResumeState(path, callbacks=[count := Count()])
    assert state.restore(resumed) == 2
    assert (state.iterations, state.finished, count.batches) == (2 * BATCHES, False, 2 * BATCHES)
    train(resumed, 4, [count, state], first_epoch=2)

    assert bits(resumed) == bits(unbroken)
    assert state.history == whole.history
    assert len(state.history["loss"]) == 4 and set(state.history) == {"loss", "accuracy"}
    assert count.batches == 4 * BATCHES
    assert (state.iterations, state.epochs_completed, state.finished) == (4 * BATCHES, 4, True)


def test_exception_in_training_leaves_the_last_epoch(path):
    broken, state = build(), ResumeState(path)
    with pytest.raises(RuntimeError, match="broken off"):
        train(broken, 2, [state, AtBatch(1, 1, break_off)])
    assert ResumeState(path).restore(build(1)) == 1
    assert not state.finished


def test_nothing_to_restore_is_epoch_zero(path):
    state = ResumeState(path)
    assert state.restore(build()) == 0
    assert (state.epochs_completed, state.iterations, state.finished) == (0, 0, False)
    assert state.history == {}


def test_finished_run_is_recognised(path):
    model = build()
    train(model, 3, [ResumeState(path)])
    state, other = ResumeState(path), build(1)
    assert state.restore(other) == 3 and state.finished
    train(other, 3, [state], first_epoch=3)
    assert bits(other) == bits(model)
    assert ResumeState(path).restore(build(2)) == 3


def test_kill_between_last_epoch_and_end_loses_nothing(saved, saved_path):
    model, state = build(1), ResumeState(saved_path)
    first_epoch = state.restore(model)
    assert first_epoch == 2 and not state.finished
    train(model, 2, [state], first_epoch=first_epoch)
    assert state.finished and bits(model) == saved[1][2]


def test_final_state_has_the_weights_that_others_exchanged_at_the_end(path):
    model = build()
    best = keras.callbacks.EarlyStopping("loss", patience=0, restore_best_weights=True, mode="max")
    state = ResumeState(path)
    train(model, 9, [best, state])
    other = build(1)
    assert ResumeState(path).restore(other) == state.epochs_completed < 9
    assert bits(other) == bits(model)
    assert state.finished


def test_finished_run_can_be_extended(path):
    unbroken = build()
    train(unbroken, 4)
    train(build(), 2, [ResumeState(path)])
    model, state = build(3), ResumeState(path)
    train(model, 4, [state], first_epoch=state.restore(model))
    assert bits(model) == bits(unbroken)


def test_learning_rate_set_by_hand_comes_back(path):
    def decay(epoch, logs):
        state.model.optimizer.learning_rate = 0.123

    state = ResumeState(path)
    train(build(), 1, [keras.callbacks.LambdaCallback(on_epoch_end=decay), state])
    other = build()
    ResumeState(path).restore(other)
    assert float(other.optimizer.learning_rate) == pytest.approx(0.123)


def test_generations_take_turns(path):
    kept, model, state = [], build(), ResumeState(path)
    state.set_model(model)
    for epoch in range(3):
        scramble(model, epoch)
        state.on_epoch_end(epoch)
        kept.append([read(name) for name in state.paths if os.path.exists(name)])
    first, second, third = kept
    assert len(first) == 1 and second[1] == first[0]
    assert third[0] == second[0] and third[1] != second[1]
    assert sorted(os.listdir(os.path.dirname(path))) == ["state.0", "state.1"]


def test_named_callbacks_take_part(path):
    save(path, callbacks={"count": Count(4)})
    count = Count()
    ResumeState(path, {"count": count}).restore(build(1))
    assert count.batches == 4


def test_data_set_goes_on_with_the_next_epoch(path):
    data = types.SimpleNamespace(epoch=7)
    assert ResumeState(path, data=data).restore(build()) == 0
    assert data.epoch == 7
    save(path, epochs=2)
    ResumeState(path, data=data).restore(build())
    assert data.epoch == 2


def test_two_callbacks_of_one_class_keep_their_own_counters(path):
    save(path, callbacks=[Count(3), Count(4)])
    first, second = Count(), Count()
    ResumeState(path, [first, second]).restore(build())
    assert (first.batches, second.batches) == (3, 4)


def test_history_keeps_non_finite_values(path):
    def spoil(epoch, logs):
        logs.update(rate=np.float32(0.1), bad=float("nan"), worse=float("inf"))

    train(build(), 2, [keras.callbacks.LambdaCallback(on_epoch_end=spoil), ResumeState(path)])
    state = ResumeState(path)
    state.restore(build())
    np.testing.assert_array_equal(state.history["bad"], [np.nan, np.nan])
    assert state.history["worse"] == [np.inf] * 2
    assert state.history["rate"] == [float(np.float32(0.1))] * 2
