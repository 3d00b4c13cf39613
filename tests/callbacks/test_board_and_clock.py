"""What `BoardLog` writes is what `fit` reported; `StepClock` times steps and nothing else."""

import time

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops

from keras_dep import DEP
from keras_dep import CoupledWeightDecay
from keras_dep.callbacks import BoardLog
from keras_dep.callbacks import ResumeState
from keras_dep.callbacks import StepClock
from keras_dep.summaries import EventWriter
from tests.support.event_files import read_scalars

STEPS, BATCH_SIZE = 4, 8


def build(optimizer):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(5, activation="tanh", name="hidden"),
            layers.Dense(3, name="head"),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"], run_eagerly=True)
    return model


def fit(model, *callbacks, epochs=2, **options):
    draw = np.random.default_rng(0)
    x = draw.uniform(0, 1, (STEPS * BATCH_SIZE, 6)).astype("float32")
    y = draw.integers(0, 3, len(x)).astype("int32")
    return model.fit(
        x, y, BATCH_SIZE, epochs, 0, list(callbacks), validation_data=(x[:8], y[:8]), **options
    )


def sgd(rate=0.5):
    return keras.optimizers.SGD(rate, momentum=0.9)


def logged(folder, model, epochs=2, callbacks=(), **options):
    with EventWriter(folder) as writer:
        history = fit(model, *callbacks, BoardLog(writer), epochs=epochs, **options).history
    return read_scalars(folder), history


class CountOfEachClass(keras.metrics.Metric):
    """How often each of three classes was answered, and the first count by itself."""

    def __init__(self, name="answers"):
        super().__init__(name=name)
        self.counts = self.add_weight(shape=(3,), initializer="zeros", name="counts")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.counts.assign_add(ops.sum(ops.one_hot(ops.argmax(y_pred, -1), 3), axis=0))

    def result(self):
        return self.counts * 1.0

    def reset_state(self):
        self.counts.assign(ops.zeros(3))


class Matrix(CountOfEachClass):
    def result(self):
        counts = super().result()
        return {"matrix": ops.outer(counts, counts), "first": 1.0 * counts[0]}


def test_a_metric_with_several_values_is_one_curve_for_each(tmp_path):
    model = build(sgd())
    metrics = [CountOfEachClass(), Matrix(name="matrix")]
    model.compile(sgd(), model.loss, metrics=metrics, run_eagerly=True)
    state = ResumeState(tmp_path / "state")
    scalars, history = logged(tmp_path, model, callbacks=[state])
    for group, before in (("train", ""), ("validation", "val_")):
        answers = np.array(history[f"{before}answers"])
        assert answers.shape == (2, 3)
        assert (answers.sum(axis=1) == (8 if before else STEPS * BATCH_SIZE)).all()
        for index in range(3):
            points = [value for _, value in scalars[f"{group}/answers/{index}"]]
            np.testing.assert_array_equal(points, answers[:, index])
        product = [value for _, value in scalars[f"{group}/matrix/0/2"]]
        np.testing.assert_array_equal(product, answers[:, 0] * answers[:, 2])
        assert [value for _, value in scalars[f"{group}/first"]] == answers[:, 0].tolist()
    # A state holds them too.
    restored = ResumeState(tmp_path / "state")
    assert restored.restore(model) == 2
    np.testing.assert_array_equal(restored.history["answers"], history["answers"])


def test_metrics_and_learning_rate_of_each_epoch(tmp_path):
    rate = keras.callbacks.LearningRateScheduler(lambda epoch: 0.5 / (epoch + 1))
    scalars, history = logged(tmp_path, build(sgd()), callbacks=[rate])
    tags = {
        "train/loss": "loss",
        "train/accuracy": "accuracy",
        "validation/loss": "val_loss",
        "validation/accuracy": "val_accuracy",
        "train/learning_rate": "learning_rate",
    }
    assert set(scalars) == set(tags)
    for tag, name in tags.items():
        steps, values = zip(*scalars[tag])
        assert steps == (STEPS, 2 * STEPS)
        np.testing.assert_allclose(values, history[name], rtol=1e-6)
    assert history["learning_rate"] == [0.5, 0.25]


def test_learning_rate_without_a_scheduler(tmp_path):
    scalars, history = logged(tmp_path, build(sgd(0.125)))
    assert "learning_rate" not in history
    assert scalars["train/learning_rate"] == [(STEPS, 0.125), (2 * STEPS, 0.125)]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda inner: DEP(inner),
        lambda inner: DEP(CoupledWeightDecay(inner, 1e-3)),
        lambda inner: CoupledWeightDecay(DEP(inner), 1e-3),
        lambda inner: keras.optimizers.LossScaleOptimizer(DEP(inner)),
    ],
    ids=["plain", "outside", "inside", "scaled"],
)
def test_removed_energy_of_each_projected_kernel(tmp_path, wrap):
    model = build(wrap(sgd()))
    scalars, _ = logged(tmp_path, model, epochs=1)
    prefix = "dep/removed_energy/"
    found = {
        tag.removeprefix(prefix): points
        for tag, points in scalars.items()
        if tag.startswith(prefix)
    }
    kernels = [layer.kernel.path for layer in model.layers]
    assert list(found) == kernels
    optimizer = model.optimizer
    while not isinstance(optimizer, DEP):
        optimizer = optimizer.inner_optimizer
    shares = ops.convert_to_numpy(optimizer.removed_energy)
    for path, share in zip(kernels, shares):
        [(step, value)] = found[path]
        assert step == STEPS and value == pytest.approx(share, rel=1e-6) and 0 < value < 1


def test_plain_optimizers_have_no_removed_energy(tmp_path):
    scalars, _ = logged(tmp_path, build(sgd()), epochs=1)
    assert not any(tag.startswith("dep/") for tag in scalars)


def test_values_that_are_not_finite_are_written(tmp_path):
    class Spoil(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["loss"] = float("nan")

    scalars, _ = logged(tmp_path, build(sgd()), epochs=1, callbacks=[Spoil()])
    [(step, value)] = scalars["train/loss"]
    assert step == STEPS and np.isnan(value)


def test_epoch_is_on_the_disk_before_the_next_begins(tmp_path):
    class Look(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            seen.append(len(read_scalars(tmp_path).get("train/loss", [])))

    seen, writer = [], EventWriter(tmp_path)
    fit(build(sgd()), BoardLog(writer), Look(), epochs=3)
    writer.close()
    assert seen == [0, 1, 2]


class Ticking:
    """A clock that stands still unless told: seconds of steps are then known exactly."""

    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)


class Spend(keras.callbacks.Callback):
    """Lets time pass inside and outside of steps; listed before the clock."""

    def __init__(self, ticking, seconds):
        super().__init__()
        self.ticking, self.seconds = ticking, iter(seconds)

    def on_epoch_begin(self, epoch, logs=None):
        self.ticking.now += 1000

    def on_train_batch_begin(self, batch, logs=None):
        # Ahead of the clock's own hook: data and the work of other callbacks.
        self.ticking.now += 50

    def on_test_begin(self, logs=None):
        self.ticking.now += 500


def timed(ticking, clock, seconds, epochs):
    """Runs the hooks of a `fit` whose steps take the given seconds."""
    spend = Spend(ticking, seconds)
    clock.on_train_begin()
    steps = len(seconds) // epochs
    for epoch in range(epochs):
        spend.on_epoch_begin(epoch)
        clock.on_epoch_begin(epoch)
        for batch in range(steps):
            spend.on_train_batch_begin(batch)
            clock.on_train_batch_begin(batch)
            ticking.now += next(spend.seconds)
            clock.on_train_batch_end(batch, {"loss": 1.0})
        spend.on_test_begin()
        clock.on_epoch_end(epoch)


def test_clock_takes_medians_without_the_first_step(monkeypatch):
    clock = StepClock()
    assert clock.seconds_per_step is None
    timed(Ticking(monkeypatch), clock, [60, 1, 2, 30, 4, 5, 6, 7], epochs=2)
    assert clock.epochs == pytest.approx([2.0, 5.5])
    assert clock.seconds_per_step == pytest.approx(3.75)


def test_clock_counts_a_lone_step_and_each_fit_anew(monkeypatch):
    ticking, clock = Ticking(monkeypatch), StepClock()
    timed(ticking, clock, [7], epochs=1)
    assert clock.epochs == pytest.approx([7.0])
    timed(ticking, clock, [60, 1, 3], epochs=1)
    assert clock.epochs == pytest.approx([7.0, 2.0])


def test_clock_state_round_trip(monkeypatch):
    clock, other = StepClock(), StepClock()
    timed(Ticking(monkeypatch), clock, [60, 1, 3], epochs=1)
    other.set_state(clock.get_state())
    assert other.epochs == clock.epochs and other.seconds_per_step == pytest.approx(2.0)
    other.epochs.append(1.0)
    assert len(clock.epochs) == 1


def test_clock_in_fit_does_not_time_callbacks_ahead_of_it(monkeypatch):
    ticking, clock = Ticking(monkeypatch), StepClock()

    class Step(keras.callbacks.Callback):
        """Behind the clock, what a step takes."""

        def on_train_batch_begin(self, batch, logs=None):
            ticking.now += 3

    fit(build(sgd()), Spend(ticking, ()), clock, Step(), epochs=2)
    assert clock.epochs == pytest.approx([3.0, 3.0])
