"""Planted collapses and recoveries against the definition in the docstring of `CollapseWatch`."""

import json

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops

from keras_dep import PoisonSchedule
from keras_dep.callbacks import CollapseWatch
from keras_dep.callbacks import PoisonInjection
from keras_dep.summaries import EventWriter
from tests.support.event_files import read_scalars

COUNT, CLASSES = 100, 4
LABELS = np.arange(COUNT) % CLASSES
IMAGES = np.eye(COUNT, dtype="float32")


def planted(right):
    """Logits that get the first `right` images right and all others wrong."""
    answers = np.where(np.arange(COUNT) < right, LABELS, (LABELS + 1) % CLASSES)
    return np.eye(CLASSES, dtype="float32")[answers]


def build(right=0, rate=0.0):
    """One row of weights per image: its accuracy can be set to any value."""
    model = keras.Sequential([keras.Input((COUNT,)), layers.Dense(CLASSES, use_bias=False)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(rate), loss, metrics=["accuracy"], run_eagerly=True)
    model.set_weights([planted(right)])
    return model


def entropy(right):
    """Mean cross-entropy of `planted(right)`."""
    total = np.log(np.e + CLASSES - 1)
    return total - right / COUNT


class Plant(keras.callbacks.Callback):
    """Sets the accuracy at the end of each epoch."""

    def __init__(self, per_epoch):
        super().__init__()
        self.per_epoch = per_epoch

    def on_epoch_end(self, epoch, logs=None):
        self.model.set_weights([planted(self.per_epoch[epoch])])


def judged(before, after, ends=(), chance=1 / CLASSES, writer=None):
    """The event of one poisoned batch that moves the right answers from `before` to `after`."""
    watch = CollapseWatch(IMAGES, LABELS, chance=chance, writer=writer, batch_size=30)
    model = build(before)
    watch.set_model(model)
    watch.before(model, epoch=0, place=3)
    model.set_weights([planted(after)])
    watch.after(model, epoch=0, place=3)
    for epoch, right in enumerate(ends):
        model.set_weights([planted(right)])
        watch.on_epoch_end(epoch)
    return watch, watch.events[0]


@pytest.mark.parametrize(
    "before, after, collapsed",
    [
        # Chance is 25: something learnt means 50, and half of 90 - 25 is lost at 57.5.
        (90, 57, True),
        (90, 58, False),
        (90, 0, True),
        (90, 90, False),
        (50, 37, True),
        (50, 38, False),
        (49, 0, False),
        (100, 62, True),
        (100, 63, False),
    ],
)
def test_collapse_is_half_of_what_was_learnt(before, after, collapsed):
    watch, event = judged(before, after)
    assert event["collapsed"] is collapsed and watch.collapsed is collapsed
    assert event["before"] == pytest.approx(before / COUNT)
    assert event["after"] == watch.worst_accuracy == pytest.approx(after / COUNT)
    assert event["loss_before"] == pytest.approx(entropy(before), abs=1e-6)
    assert event["loss_after"] == pytest.approx(entropy(after), abs=1e-6)
    assert (event["epoch"], event["place"], event["recovered_epoch"]) == (0, 3, None)


def test_chance_is_one_over_the_labels_unless_given():
    assert CollapseWatch(IMAGES, LABELS).chance == 0.25
    assert CollapseWatch(IMAGES, np.arange(COUNT) % 2).chance == 0.5
    # Against chance 0.1, 90 that fall to 58 keep more than half; against 0.4 they do not.
    assert not judged(90, 58, chance=0.1)[1]["collapsed"]
    assert judged(90, 58, chance=0.4)[1]["collapsed"]


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_loss_that_is_not_finite_is_a_collapse_at_any_accuracy(poison):
    watch = CollapseWatch(IMAGES, LABELS)
    model = build(30)
    watch.before(model, 0, 0)
    model.set_weights([np.full((COUNT, CLASSES), poison, "float32")])
    watch.after(model, 0, 0)
    assert watch.events[0]["collapsed"] and watch.collapsed
    assert not np.isfinite(watch.events[0]["loss_after"])


@pytest.mark.parametrize(
    "ends, recovered",
    [
        # 25 + 0.9 * (90 - 25) is 83.5.
        ((84,), 0),
        ((83, 83), None),
        ((40, 84, 20), 1),
        ((), None),
    ],
)
def test_recovery_is_nine_tenths_of_what_was_learnt(ends, recovered):
    _, event = judged(90, 20, ends)
    assert event["collapsed"] and event["recovered_epoch"] == recovered


def test_what_did_not_collapse_does_not_recover():
    assert judged(90, 60, (90, 90))[1]["recovered_epoch"] is None


def test_planted_collapse_and_recovery_within_fit():
    class Wreck(CollapseWatch):
        """A poisoned batch that ruins the weights in epoch 1 and none else."""

        def after(self, model, epoch, place):
            if epoch == 1:
                model.set_weights([planted(10)])
            super().after(model, epoch, place)

    watch = Wreck(IMAGES, LABELS)
    poison = PoisonInjection(PoisonSchedule(), lambda *_: (IMAGES[:8], LABELS[:8]), watch=watch)
    ends = Plant([80, 60, 70, 90])
    history = build(80).fit(
        IMAGES, LABELS, 25, epochs=4, verbose=0, shuffle=False, callbacks=[poison, ends, watch]
    )
    assert [event["collapsed"] for event in watch.events] == [False, True, False, False]
    assert [event["recovered_epoch"] for event in watch.events] == [None, 3, None, None]
    assert [event["before"] for event in watch.events] == pytest.approx([0.8, 0.8, 0.6, 0.7])
    assert watch.collapsed and watch.worst_accuracy == pytest.approx(0.1)
    # The measurements leave the metrics of fit alone.
    assert history.history["accuracy"][0] == pytest.approx(0.8)
    assert history.history["loss"][0] == pytest.approx(entropy(80), rel=1e-5)


def test_watching_changes_nothing():
    finals = []
    for watched in (False, True):
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [
                keras.Input((COUNT,)),
                layers.BatchNormalization(),
                layers.Dropout(0.5, seed=1),
                layers.Dense(CLASSES),
            ]
        )
        model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse", run_eagerly=True)
        watch = CollapseWatch(IMAGES, LABELS) if watched else None
        poison = PoisonInjection(
            PoisonSchedule(count=2, seed=1),
            lambda *_: (IMAGES[:8], np.eye(CLASSES)[LABELS[:8]]),
            watch=watch,
        )
        callbacks = [poison, watch] if watched else [poison]
        targets = np.eye(CLASSES)[LABELS]
        model.fit(IMAGES, targets, 50, epochs=2, verbose=0, shuffle=False, callbacks=callbacks)
        variables = [*model.variables, *model.optimizer.variables]
        finals.append([ops.convert_to_numpy(v.value).tobytes() for v in variables])
        assert watch is None or len(watch.events) == 4
    assert finals[0] == finals[1]


def test_without_poison_there_is_nothing_to_say():
    watch = CollapseWatch(IMAGES, LABELS)
    build(50).fit(IMAGES, LABELS, 50, verbose=0, callbacks=[watch])
    assert (watch.events, watch.collapsed, watch.worst_accuracy) == ([], False, None)


def test_events_can_be_read_back(tmp_path):
    with EventWriter(tmp_path) as writer:
        judged(90, 20, writer=writer)
    scalars = read_scalars(tmp_path)
    expected = {
        "poison/accuracy_before": 0.9,
        "poison/accuracy_after": 0.2,
        "poison/loss_before": entropy(90),
        "poison/loss_after": entropy(20),
        "poison/non_finite_answers": 0.0,
        "poison/collapsed": 1.0,
        "collapse/accuracy": 0.2,
    }
    assert set(scalars) == set(expected)
    for tag, value in expected.items():
        [(step, found)] = scalars[tag]
        assert step == 0 and found == pytest.approx(value, rel=1e-6)


def test_one_curve_shows_each_poisoned_batch_and_the_recovery(tmp_path):
    model = build(80)
    with EventWriter(tmp_path) as writer:
        watch = CollapseWatch(IMAGES, LABELS, writer=writer)

        class Spoil:
            """Stands in for a training step on a poisoned batch that leaves `right` answers."""

            right = iter((25, 90))

            def __call__(self, epoch, number):
                # The learning rate is 0: the batch itself changes nothing.
                model.set_weights([planted(next(self.right))])
                return IMAGES[:8], LABELS[:8]

        poison = PoisonInjection(
            PoisonSchedule(count=1, position="last"), Spoil(), watch=watch, writer=writer
        )
        callbacks = [poison, Plant([30, 95]), watch]
        model.fit(IMAGES, LABELS, 50, epochs=2, verbose=0, shuffle=False, callbacks=callbacks)
    points = read_scalars(tmp_path)["collapse/accuracy"]
    # Two ordinary steps and a poisoned one in each epoch, and a measurement at each epoch's end.
    assert [step for step, _ in points] == [2, 3, 5, 6]
    np.testing.assert_allclose([value for _, value in points], [0.8, 0.3, 0.3, 0.95], rtol=1e-6)
    assert watch.events[0]["recovered_epoch"] == 1


def test_state_round_trip_waits_on_for_recovery():
    watch, event = judged(90, 20, (40,))
    other = CollapseWatch(IMAGES, LABELS)
    other.set_state(json.loads(json.dumps(watch.get_state())))
    assert other.events == watch.events
    other.set_model(build(90))
    other.on_epoch_end(1)
    assert other.events[0]["recovered_epoch"] == 1
    assert event["recovered_epoch"] is None


@pytest.mark.parametrize(
    "images, labels, message",
    [
        (IMAGES[:0], LABELS[:0], "at least one image.*received 0 images and 0 labels"),
        (IMAGES, LABELS[:5], "one label each; received 100 images and 5 labels"),
    ],
    ids=["none", "lengths"],
)
def test_bad_input(images, labels, message):
    with pytest.raises(ValueError, match=message) as raised:
        CollapseWatch(images, labels)
    assert "\n" not in str(raised.value)
