"""Batches depend on seed, epoch and index, and `fit` sees exactly these batches."""

import keras
import numpy as np
import pytest

from keras_dep.data.loader import Batches
from keras_dep.data.loader import FollowEpoch

STEPS = 5


def make_batches(count=43, batch_size=8, dtype="uint8", **options):
    images = np.random.default_rng(0).integers(0, 256, (count, 6, 6, 1), dtype=np.uint8)
    images = images if dtype == "uint8" else (images / 255).astype(dtype)
    return Batches(images, np.arange(count, dtype="int64"), batch_size, **options)


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("drop_remainder, sizes", [(True, [8] * 5), (False, [8] * 5 + [3])])
def test_each_image_comes_once_per_epoch_in_a_new_order(workers, drop_remainder, sizes):
    batches = make_batches(drop_remainder=drop_remainder, workers=workers)
    orders = []
    for epoch in range(3):
        batches.epoch = epoch
        pairs = [batches[index] for index in range(len(batches))]
        assert [len(labels) for _, labels in pairs] == sizes
        images, labels = (np.concatenate(part) for part in zip(*pairs))
        assert images.dtype == np.float32 and labels.dtype == np.int32
        assert len(set(labels)) == sum(sizes)
        np.testing.assert_allclose(images, batches.x[labels] / 255.0, rtol=1e-6)
        orders.append(tuple(labels))
    assert len(set(orders)) == 3 and tuple(sorted(orders[0])) not in orders


def test_without_shuffling_the_order_is_the_files():
    batches = make_batches(shuffle=False, drop_remainder=False)
    for epoch in (0, 4):
        batches.epoch = epoch
        labels = np.concatenate([labels for _, labels in batches])
        np.testing.assert_array_equal(labels, np.arange(43))


def test_labels_come_in_every_form_of_keras():
    images, labels = np.zeros((4, 2, 2, 1), "uint8"), np.array([2, 0, 1, 2])
    for given in (labels[:, None], labels.astype("float64"), np.eye(3)[labels], labels.tolist()):
        batches = Batches(images, given, batch_size=4, shuffle=False)
        np.testing.assert_array_equal(batches[0][1], labels)
        assert batches[0][1].dtype == np.int32


@pytest.mark.parametrize("augment", [None, "none", "standard", "paper"])
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_a_batch_depends_on_seed_epoch_and_index_only(augment, dtype):
    options = {"dtype": dtype, "augment": augment, "seed": 7}
    plain = make_batches(workers=0, epoch=2, **options)
    ahead = make_batches(workers=2, **options)
    # Any order, repeats, and another epoch in between must not matter.
    for index in (4, 0, 0, 3, 1):
        ahead.epoch = 1
        other = ahead[index]
        ahead.epoch = 2
        for ours, expected, elsewhere in zip(ahead[index], plain[index], other):
            np.testing.assert_array_equal(ours, expected)
            assert (ours != elsewhere).any()
    images = plain[0][0]
    assert images.dtype == np.float32 and images.min() >= 0 and 0.9 < images.max() <= 1
    changed = make_batches(workers=0, epoch=2, **{**options, "seed": 8})
    assert (changed[0][1] != plain[0][1]).any()


def test_augmentation_draws_are_independent_of_the_order_and_of_each_other():
    drawn = {}

    def record(images, rng):
        drawn[len(drawn)] = rng.integers(0, 2**62, 4).tolist()
        return images

    batches = make_batches(augment=record, workers=0)
    for epoch in range(3):
        batches.epoch = epoch
        for index in range(len(batches)):
            batches[index]
    orders = [np.random.default_rng([0, epoch]).integers(0, 2**62, 4) for epoch in range(3)]
    streams = {tuple(stream) for stream in [*drawn.values(), *orders]}
    assert len(streams) == 3 * STEPS + 3


def test_a_failure_while_reading_ahead_reaches_the_caller():
    def fail(images, rng):
        raise OSError("broken augmentation")

    batches = make_batches(augment=fail, workers=2)
    for _ in range(2):
        with pytest.raises(OSError, match="broken augmentation"):
            batches[0]


@pytest.mark.parametrize(
    "options, words",
    [
        ({"batch_size": 44}, "batch_size=44"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"seed": -1}, "seed=-1"),
        ({"epoch": -1}, "epoch=-1"),
        ({"workers": -1}, "workers=-1"),
        (
            {"augment": "papre"},
            "augment must be one of none, paper, resized_crop, standard; received 'papre'",
        ),
    ],
)
def test_bad_options_are_one_line(options, words):
    with pytest.raises(ValueError, match=words) as caught:
        make_batches(**options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "images, labels, words",
    [
        (np.zeros((2, 4, 4)), np.zeros(2, int), r"x.shape=\(2, 4, 4\)"),
        (np.zeros((2, 4, 4, 1)), np.zeros(3, int), r"y.shape=\(3,\)"),
        (np.zeros((0, 4, 4, 1)), np.zeros(0, int), r"x.shape=\(0, 4, 4, 1\)"),
        (np.full((2, 4, 4, 1), 255.0), np.zeros(2, int), "divide pixels"),
        (np.full((2, 4, 4, 1), np.nan), np.zeros(2, int), "float64, nan"),
        (np.zeros((2, 4, 4, 1), int), np.zeros(2, int), "received x of int64"),
        (np.zeros((2, 4, 4, 1)), np.array([0.5, 1]), r"float64 \(2,\) with the label 0.5"),
        (np.zeros((2, 4, 4, 1)), np.array([3, -2]), r"int64 \(2,\) with the label -2"),
        (np.zeros((2, 4, 4, 1)), np.array(["cat", "dog"]), r"received <U3 \(2,\)"),
        (np.zeros((2, 0, 4, 1)), np.zeros(2, int), r"x.shape=\(2, 0, 4, 1\)"),
        (np.full((2, 4, 4, 1), "a"), np.zeros(2, int), "received x of <U1; divide"),
        (np.zeros((2, 4, 4, 1)), np.zeros((2, 3), int), r"int64 \(2, 3\) with the row"),
    ],
)
def test_bad_images_and_labels_are_one_line(images, labels, words):
    with pytest.raises(ValueError, match=words) as caught:
        Batches(images, labels, batch_size=1)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("index", [-1, 5])
def test_an_index_outside_the_epoch_is_refused(index):
    with pytest.raises(IndexError, match=f"0 to 4; received {index}"):
        make_batches()[index]


# What a model sees during fit


class Tape(keras.layers.Layer):
    """Writes a checksum of each training batch, position by position, into a variable."""

    def build(self, shape):
        self.written = self.add_weight(shape=(), initializer="zeros", trainable=False)
        self.sums = self.add_weight(shape=(64,), initializer="zeros", trainable=False)

    def call(self, images, training=False):
        ops = keras.ops
        if training:
            number = ops.convert_to_tensor(self.written)
            here = ops.equal(ops.arange(64, dtype="float32"), number)
            place = ops.arange(1, 9, dtype="float32")
            checksum = ops.sum(ops.mean(images, axis=(1, 2, 3)) * place)
            self.sums.assign(ops.where(here, checksum, ops.convert_to_tensor(self.sums)))
            self.written.assign(number + 1)
        return images


def make_model(built=False):
    tape = Tape()
    model = keras.Sequential([tape, keras.layers.Flatten(), keras.layers.Dense(43)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, metrics=["accuracy"])
    if built:
        model.train_on_batch(*make_batches()[0])
        tape.written.assign(0.0)
    return model, tape


def seen(tape):
    count = int(keras.ops.convert_to_numpy(tape.written))
    return keras.ops.convert_to_numpy(tape.sums)[:count]


def expected_sums(epochs):
    sums = []
    for epoch in epochs:
        for images, _ in make_batches(augment="paper", workers=0, epoch=epoch):
            sums.append((images.mean((1, 2, 3)) * np.arange(1, len(images) + 1)).sum())
    assert len(set(np.round(sums, 3))) == len(sums)
    return sums


@pytest.mark.parametrize("built, workers", [(False, 0), (False, 2), (True, 1)])
def test_fit_sees_the_same_batches_everywhere(built, workers):
    model, tape = make_model(built)
    batches = make_batches(augment="paper", workers=workers)
    validation = make_batches(shuffle=False)
    model.fit(batches, epochs=3, validation_data=validation, shuffle=False, verbose=0)
    np.testing.assert_allclose(seen(tape), expected_sums([0, 1, 2]), rtol=1e-4)
    assert batches.epoch == 3
    # The same object goes on where it stopped.
    model.fit(batches, epochs=1, shuffle=False, verbose=0)
    np.testing.assert_allclose(seen(tape)[15:], expected_sums([3]), rtol=1e-4)


@pytest.mark.parametrize("follow", [False, True])
def test_a_resumed_fit_sees_what_the_unbroken_one_would(follow):
    model, tape = make_model()
    batches = make_batches(augment="paper", epoch=0 if follow else 2)
    callbacks = [FollowEpoch(batches)] if follow else []
    model.fit(batches, epochs=4, initial_epoch=2, callbacks=callbacks, shuffle=False, verbose=0)
    np.testing.assert_allclose(seen(tape), expected_sums([2, 3]), rtol=1e-4)


def test_following_holds_when_other_passes_use_the_same_object():
    batches = make_batches(augment="paper")
    for built in (False, True):
        model, tape = make_model(built)
        model.evaluate(batches, verbose=0)
        model.fit(
            batches,
            epochs=3,
            validation_data=batches,
            callbacks=[FollowEpoch(batches)],
            shuffle=False,
            verbose=0,
        )
        np.testing.assert_allclose(seen(tape), expected_sums([0, 1, 2]), rtol=1e-4)


def test_a_pass_broken_off_within_an_epoch_does_not_leak_into_the_next():
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 1

    model, tape = make_model(built=True)
    batches = make_batches(augment="paper")
    model.fit(batches, epochs=2, callbacks=[Stop()], shuffle=False, verbose=0)
    batches.epoch = 1
    model.fit(batches, epochs=2, initial_epoch=1, shuffle=False, verbose=0)
    np.testing.assert_allclose(seen(tape)[2:], expected_sums([1]), rtol=1e-4)


def test_keras_own_shuffling_of_batches_is_refused(monkeypatch):
    monkeypatch.setattr("random.shuffle", lambda indices: indices.reverse())
    model, _ = make_model(built=True)
    with pytest.raises(Exception, match=r"received index=4.*shuffle=False"):
        model.fit(make_batches(), epochs=1, verbose=0)
