"""A resumed run against an unbroken one, bit for bit, and a state under every kind of damage."""

import errno
import os
import re
import shutil
import types
import warnings

import keras
import numpy as np
import pytest
from keras import ops

from keras_dep import optimizers
from keras_dep.callbacks import resume
from tests.faults.resume_worker import AtBatch

ResumeState = resume.ResumeState
BATCHES, BATCH_SIZE, FEATURES, CLASSES = 3, 8, 6, 3
OPTIMIZERS = {
    "momentum": lambda: keras.optimizers.SGD(0.05, momentum=0.9),
    "adam": lambda: keras.optimizers.Adam(0.01),
    "average": lambda: keras.optimizers.Adam(0.01, use_ema=True),
    "accumulated": lambda: keras.optimizers.SGD(0.05, gradient_accumulation_steps=3),
    "loss scale": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.05)),
    "dep": lambda: optimizers.DEP(keras.optimizers.SGD(0.05, momentum=0.9)),
}


def build(seed=0, optimizer="momentum", width=4, dtype="float32", eager=True):
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((FEATURES,)),
            layers.Dense(width, dtype=dtype),
            layers.BatchNormalization(dtype=dtype),
            layers.Activation("relu", dtype=dtype),
            layers.Dropout(0.5, seed=seed, dtype=dtype),
            layers.Dense(CLASSES, dtype=dtype),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # Eager steps spare a compilation per test; the comparison with an unbroken run is compiled.
    model.compile(OPTIMIZERS[optimizer](), loss, metrics=["accuracy"], run_eagerly=eager)
    return model


def read(name):
    with open(name, "rb") as file:
        return file.read()


def write(name, content):
    with open(name, "wb") as file:
        file.write(content)


def scramble(model, seed=0):
    """Gives every variable of a model and its optimizer a value of its own."""
    generator = np.random.default_rng(seed)
    model.optimizer.build(model.trainable_variables)
    for variable in [*model.variables, *model.optimizer.variables]:
        variable.assign(ops.cast(generator.integers(0, 100, variable.shape), variable.dtype) / 1)


def save(path, model=None, epochs=1, **options):
    """Saves the model after each of some epochs without training it."""
    model = model or build()
    state = ResumeState(path, **options)
    state.set_model(model)
    state.on_train_begin()
    for epoch in range(epochs):
        scramble(model, epoch)
        state.on_epoch_end(epoch, {"loss": 1 / (epoch + 1)})
    return model


def train(model, epochs, callbacks=(), first_epoch=0):
    generator = np.random.default_rng(1)
    count = BATCHES * BATCH_SIZE
    x = generator.normal(size=(count, FEATURES)).astype("float32")
    y = generator.integers(0, CLASSES, count).astype("int32")
    return model.fit(
        x,
        y,
        BATCH_SIZE,
        epochs,
        verbose=0,
        shuffle=False,
        callbacks=list(callbacks),
        initial_epoch=first_epoch,
    )


def bits(model):
    variables = [*model.variables, *model.optimizer.variables]
    arrays = [ops.convert_to_numpy(variable.value) for variable in variables]
    return [(array.shape, array.dtype.name, array.tobytes()) for array in arrays]


class Count(keras.callbacks.Callback):
    """A counter that starts anew with every `fit`, as those of Keras do."""

    def __init__(self, batches=0):
        super().__init__()
        self.batches = batches

    def on_train_begin(self, logs=None):
        self.batches = 0

    def on_train_batch_end(self, batch, logs=None):
        self.batches += 1

    def get_state(self):
        return {"batches": self.batches}

    def set_state(self, state):
        self.batches = state["batches"]


def break_off():
    raise RuntimeError("broken off")


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "state")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with the states after epochs 1 and 2, and the bits of every variable at each."""
    folder = tmp_path_factory.mktemp("saved")
    contents = {}
    for epochs in (1, 2):
        model = save(folder / f"after-{epochs}" / "state", epochs=epochs)
        contents[epochs] = bits(model)
    return folder / "after-2", contents


@pytest.fixture
def saved_path(saved, tmp_path):
    shutil.copytree(saved[0], tmp_path, dirs_exist_ok=True)
    return str(tmp_path / "state")


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


def damaged_restore(path, saved, damaged):
    """Restores from a damaged pair and checks that the older generation came back whole."""
    model = build(5)
    with pytest.warns(UserWarning, match=re.escape(damaged)) as caught:
        assert ResumeState(path).restore(model) == 1
    assert all("\n" not in str(warning.message) for warning in caught)
    assert bits(model) == saved[1][1]


def test_every_flipped_byte_is_found(saved, saved_path):
    newest = f"{saved_path}.0"
    content = read(newest)
    places = {*range(0, len(content), max(1, len(content) // 60)), *range(20), len(content) - 1}
    model, caught = build(), 0
    for place in sorted(places):
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        write(newest, flipped)
        with pytest.warns(UserWarning, match=re.escape(newest)):
            caught += ResumeState(saved_path).restore(model) == 1
    assert caught == len(places)
    damaged_restore(saved_path, saved, newest)


@pytest.mark.parametrize("size", [0, 1, 16, 31, 32, 33, 48, 500, -1])
def test_truncated_state_falls_back(saved, saved_path, size):
    newest = f"{saved_path}.0"
    content = read(newest)
    write(newest, content[:size])
    damaged_restore(saved_path, saved, newest)


def test_older_generation_may_be_damaged(saved, saved_path):
    write(f"{saved_path}.1", b"torn")
    model = build(5)
    with pytest.warns(UserWarning, match=re.escape(f"{saved_path}.1")):
        assert ResumeState(saved_path).restore(model) == 2
    assert bits(model) == saved[1][2]


@pytest.mark.parametrize("missing", [0, 1])
def test_one_generation_is_enough(saved, saved_path, missing):
    os.remove(f"{saved_path}.{missing}")
    model = build(5)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert ResumeState(saved_path).restore(model) == 2 - (missing == 0)
    assert bits(model) == saved[1][2 - (missing == 0)]


def test_run_goes_on_over_a_damaged_generation(saved_path):
    write(f"{saved_path}.0", b"torn")
    model, state = build(5), ResumeState(saved_path)
    with pytest.warns(UserWarning, match="damaged"):
        assert state.restore(model) == 1
    state.set_model(model)
    state.on_train_begin()
    state.on_epoch_begin(1)
    state.on_epoch_end(1)
    other = build(6)
    assert ResumeState(saved_path).restore(other) == 2
    assert bits(other) == bits(model)


class Failing:
    """Lets the file operations of a save fail, one after the other."""

    def __init__(self, monkeypatch, fail_at, error):
        self.fail_at, self.error, self.done = fail_at, error, 0
        monkeypatch.setattr(resume, "open", self._open, raising=False)
        for name in ("fsync", "replace", "open"):
            monkeypatch.setattr(os, name, self._failing(getattr(os, name)))

    def step(self):
        self.done += 1
        if self.done == self.fail_at:
            raise self.error

    def _failing(self, function):
        def replacement(*args):
            self.step()
            return function(*args)

        return replacement

    def _open(self, *args):
        self.step()
        return FailingFile(open(*args), self)


class FailingFile:
    def __init__(self, file, failing):
        self.file, self.failing = file, failing
        self.fileno = file.fileno

    def write(self, content):
        # The disk takes the first half before it is full.
        self.file.write(content[: len(content) // 2])
        self.failing.step()
        self.file.write(content[len(content) // 2 :])

    def flush(self):
        self.file.flush()
        self.failing.step()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()
        self.failing.step()


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()]
)
def test_save_may_fail_anywhere(saved, saved_path, monkeypatch, error):
    model, state = build(5), ResumeState(saved_path)
    scramble(model, 3)
    contents = {2: saved[1][2], 3: bits(model)}
    before = {name: read(name) for name in state.paths}
    other, failures, found = build(6), 0, set()
    while True:
        for name, content in before.items():
            write(name, content)
        state.set_model(model)
        with monkeypatch.context() as patch:
            failing = Failing(patch, failures + 1, error)
            try:
                state.on_epoch_end(2, {"loss": 0.5})
                break
            except type(error) as raised:
                if isinstance(error, OSError):
                    assert re.search(rf"{re.escape(saved_path)}.*\d+ bytes free", str(raised))
                    assert raised.errno == errno.ENOSPC and "\n" not in str(raised)
        failures += 1
        assert failing.done == failures or failing.done == failures + 1
        assert sorted(os.listdir(os.path.dirname(saved_path))) == ["state.0", "state.1"]
        scramble(other, 4)
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            epochs = ResumeState(saved_path).restore(other)
        assert bits(other) == contents[epochs]
        found.add(epochs)
    assert failures == failing.done > 20
    assert found == {2, 3}


def test_failed_save_stops_fit_with_path_and_free_bytes(path, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match=rf"{re.escape(path)}.*\d+ bytes free.*epoch 0"):
        train(build(), 1, [ResumeState(path)])
    assert os.listdir(os.path.dirname(path)) == []


def test_folder_that_cannot_be_written_is_refused_before_training(tmp_path):
    (tmp_path / "file").write_text("")
    model = build()
    before = bits(model)
    with pytest.raises(ValueError, match=r"file/run/state .*bytes free") as raised:
        train(model, 1, [ResumeState(tmp_path / "file" / "run" / "state")])
    assert "\n" not in str(raised.value)
    assert bits(model)[: len(model.variables)] == before[: len(model.variables)]


def test_folder_is_created(tmp_path):
    state = ResumeState(tmp_path / "a" / "b" / "state")
    state.set_model(build())
    state.on_train_begin()
    state.on_epoch_end(0)
    assert os.listdir(tmp_path / "a" / "b") == ["state.1"]


def refused(call, *patterns):
    with pytest.raises(ValueError) as raised:
        call()
    assert "\n" not in str(raised.value)
    for pattern in patterns:
        assert re.search(pattern, str(raised.value)), str(raised.value)


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
