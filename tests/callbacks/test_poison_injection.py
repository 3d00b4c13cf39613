"""Inserted batches against the same batches standing in the data, bit for bit."""

import json

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops

from keras_dep import FGSM
from keras_dep import PGD
from keras_dep import PoisonSchedule
from keras_dep.callbacks import PoisonInjection
from keras_dep.summaries import EventWriter
from tests.support.event_files import read_scalars

FEATURES, CLASSES, BATCH_SIZE, STEPS, EPOCHS = 6, 3, 8, 4, 2
BACKEND = keras.backend.backend()
SCHEDULES = {
    "first": PoisonSchedule(position="first"),
    "middle": PoisonSchedule(seed=1),
    "last": PoisonSchedule(position="last"),
    "two first": PoisonSchedule(position="first", count=2),
    "two last": PoisonSchedule(position="last", count=2),
    "crowd": PoisonSchedule(count=7, first_epoch=1),
    "once": PoisonSchedule(count=2, every_epoch=False),
}
COMPILED = {
    "graph": {"run_eagerly": False, "jit_compile": False},
    "xla": {"run_eagerly": False, "jit_compile": True},
}


def skip_without_compiler(mode):
    if BACKEND == "torch" and mode == "xla":
        pytest.skip("torch.compile of a train step takes minutes; eager is Keras' default there")
    if BACKEND != "tensorflow" and mode == "graph":
        pytest.skip("without jit_compile only TensorFlow compiles")


def build(normalised=False, loss=None, run_eagerly=True, **options):
    # Eager steps spare a compilation per test; the ways to compile have tests of their own.
    keras.utils.set_random_seed(0)
    body = [layers.BatchNormalization()] if normalised else []
    body = [layers.Dense(5), *body, layers.Activation("tanh"), layers.Dense(CLASSES)]
    model = keras.Sequential([keras.Input((FEATURES,)), *body])
    loss = loss or keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    model.compile(optimizer, loss, metrics=["accuracy"], run_eagerly=run_eagerly, **options)
    return model


def ordinary():
    """An epoch of batches, the last of them shorter."""
    draw = np.random.default_rng(0)
    count = STEPS * BATCH_SIZE - 3
    x = draw.uniform(0, 1, (count, FEATURES)).astype("float32")
    y = draw.integers(0, CLASSES, count).astype("int32")
    return x, y


def split(x, y):
    return [(x[i : i + BATCH_SIZE], y[i : i + BATCH_SIZE]) for i in range(0, len(x), BATCH_SIZE)]


def extra(epoch, number):
    draw = np.random.default_rng([9, epoch, number])
    x = draw.uniform(0, 1, (BATCH_SIZE, FEATURES)).astype("float32")
    return x, draw.integers(0, CLASSES, BATCH_SIZE).astype("int32")


def spliced(schedule, epoch):
    """Batches of an epoch in order, each with whether it is an extra one."""
    places = schedule.gaps(epoch, STEPS)
    epoch_batches = []
    for step, batch in enumerate([*split(*ordinary()), None]):
        epoch_batches += [
            (extra(epoch, number), True) for number, place in enumerate(places) if place == step
        ]
        epoch_batches += [(batch, False)] if batch is not None else []
    return epoch_batches


class Listed(keras.utils.PyDataset):
    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        return self.batches[index]


def fit(model, *callbacks, epochs=EPOCHS, **options):
    x, y = ordinary()
    return model.fit(
        x,
        y,
        batch_size=BATCH_SIZE,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=list(callbacks),
        **options,
    )


def bits(model):
    variables = [*model.variables, *model.optimizer.variables]
    return [ops.convert_to_numpy(variable.value).tobytes() for variable in variables]


@pytest.fixture(scope="module")
def unpoisoned():
    fit(model := build(True))
    return bits(model)


@pytest.mark.parametrize("name", SCHEDULES)
def test_weights_are_those_of_the_spliced_data(name, unpoisoned):
    schedule = SCHEDULES[name]
    poison = PoisonInjection(schedule, extra)
    poisoned, reference = build(True), build(True)
    fit(poisoned, poison)
    for epoch in range(EPOCHS):
        batches = [batch for batch, _ in spliced(schedule, epoch)]
        reference.fit(Listed(batches), shuffle=False, verbose=0)
    assert bits(poisoned) == bits(reference)
    places = [(e, place) for e in range(EPOCHS) for place in schedule.gaps(e, STEPS)]
    assert [(event["epoch"], event["place"]) for event in poison.injected] == places
    assert int(poisoned.optimizer.iterations) == EPOCHS * STEPS + len(places)
    if name == "middle":
        assert all(0 < place < STEPS for _, place in places)
    assert bits(poisoned) != unpoisoned


@pytest.mark.parametrize("mode", COMPILED)
def test_compiled_steps_are_bit_equal_and_traced_once(mode):
    skip_without_compiler(mode)
    traces, seen = [], []
    entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def counting(y, outputs):
        traces.append(outputs)
        return entropy(y, outputs)

    schedule = PoisonSchedule(count=3)
    count = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: seen.append(len(traces)))
    poisoned = build(True, loss=counting, **COMPILED[mode])
    fit(poisoned, PoisonInjection(schedule, extra), count, epochs=4)
    assert seen[0] > 0 and seen == [seen[0]] * 4
    reference = build(True, **COMPILED[mode])
    # One data set for all epochs, as a step of another shape would be compiled again.
    batches = [batch for epoch in range(4) for batch, _ in spliced(schedule, epoch)]
    reference.fit(Listed(batches), shuffle=False, verbose=0)
    assert bits(poisoned) == bits(reference)


def test_epoch_metrics_count_ordinary_batches_alone():
    schedule = PoisonSchedule(count=3, seed=1)
    poison = PoisonInjection(schedule, extra)
    validation = extra(7, 7)
    history = fit(build(True), poison, validation_data=validation).history
    reference = build(True)
    losses = []
    for epoch in range(EPOCHS):
        rows = []
        for (x, y), is_extra in spliced(schedule, epoch):
            logs = reference.train_on_batch(x, y, return_dict=True)
            if is_extra:
                losses.append(float(logs["loss"]))
            else:
                rows.append((len(x), float(logs["loss"]), float(logs["accuracy"])))
        sizes, loss, accuracy = np.array(rows).T
        np.testing.assert_allclose(history["loss"][epoch], np.average(loss, weights=sizes), 1e-6)
        np.testing.assert_allclose(
            history["accuracy"][epoch], np.average(accuracy, weights=sizes), 1e-6
        )
        score = reference.evaluate(*validation, return_dict=True, verbose=0)
        np.testing.assert_allclose(history["val_loss"][epoch], score["loss"], 1e-6)
    np.testing.assert_allclose([event["loss"] for event in poison.injected], losses, 1e-6)


def test_attack_sees_the_weights_of_the_moment():
    class Spy(PGD):
        def __call__(self, model, x, y, seed=None):
            crafted = super().__call__(model, x, y, seed=seed)
            calls.append((crafted, seed))
            return crafted

    calls, options = [], dict(epsilon=0.3, step_size=0.1, steps=2)
    schedule = PoisonSchedule(count=2, seed=1)
    poisoned = build(True)
    fit(poisoned, PoisonInjection(schedule, extra, attack=Spy(**options)))
    reference, attack, remaining = build(True), PGD(**options), iter(list(calls))
    for epoch in range(EPOCHS):
        number = 0
        for (x, y), is_extra in spliced(schedule, epoch):
            if is_extra:
                crafted, seed = next(remaining)
                assert seed == [schedule.seed, epoch, number]
                np.testing.assert_array_equal(crafted, attack(reference, x, y, seed=seed))
                assert np.abs(crafted - x).max() > 0.1
                x, number = crafted, number + 1
            reference.train_on_batch(x, y)
    assert len(calls) == 4 and bits(poisoned) == bits(reference)
    # The attack is sharp enough to tell one step's weights from another's.
    x, y = extra(0, 0)
    assert np.abs(attack(poisoned, x, y, seed=calls[0][1]) - calls[0][0]).max() > 0.05


def test_random_layers_draw_as_if_the_batch_stood_in_the_data():
    def build_random(seed=3):
        keras.utils.set_random_seed(seed)
        body = [keras.Input((FEATURES,)), layers.Dropout(0.5, seed=1), layers.Dense(CLASSES)]
        model = keras.Sequential(body)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.1), loss, run_eagerly=True)
        return model

    schedule = PoisonSchedule(count=2, seed=2)
    poisoned, reference = build_random(), build_random()
    fit(poisoned, PoisonInjection(schedule, extra, attack=FGSM(epsilon=0)), epochs=1)
    reference.fit(Listed([b for b, _ in spliced(schedule, 0)]), shuffle=False, verbose=0)
    assert bits(poisoned) == bits(reference)


class SpyWatch:
    def __init__(self):
        self.seen = []

    def before(self, model, epoch, place):
        self.seen.append(("before", epoch, place, int(model.optimizer.iterations)))

    def after(self, model, epoch, place):
        self.seen.append(("after", epoch, place, int(model.optimizer.iterations)))


def test_watch_is_asked_around_each_inserted_batch():
    schedule, watch = PoisonSchedule(count=2, seed=1), SpyWatch()
    fit(build(), PoisonInjection(schedule, extra, watch=watch))
    expected, done = [], 0
    for epoch in range(EPOCHS):
        places = list(schedule.gaps(epoch, STEPS))
        for step in range(STEPS + 1):
            while places and places[0] == step:
                place = places.pop(0)
                expected += [("before", epoch, place, done), ("after", epoch, place, done + 1)]
                done += 1
            done += step < STEPS
    assert watch.seen == expected


def test_replaced_batches_are_only_reported():
    schedule, watch = PoisonSchedule(count=2, seed=1), SpyWatch()
    poison = PoisonInjection(schedule, watch=watch)
    model, plain = build(), build()
    fit(model, poison)
    fit(plain)
    assert bits(model) == bits(plain)
    expected = [
        {"epoch": e, "place": place, "iteration": e * STEPS + place + 1, "loss": None}
        for e in range(EPOCHS)
        for place in schedule.batches(e, STEPS)
    ]
    assert poison.injected == expected and len(expected) == 4
    assert watch.seen == [
        (when, event["epoch"], event["place"], event["iteration"] - (when == "before"))
        for event in expected
        for when in ("before", "after")
    ]


@pytest.mark.parametrize("name", ["first", "last", "crowd"])
def test_several_steps_per_execution_insert_every_batch(name):
    if BACKEND == "torch":
        pytest.skip("Keras allows one step per execution on torch")
    schedule = SCHEDULES[name]
    poison = PoisonInjection(schedule, extra)
    model = build(steps_per_execution=2)
    fit(model, poison)
    places = [(e, place) for e in range(EPOCHS) for place in schedule.gaps(e, STEPS)]
    assert [(event["epoch"], event["place"]) for event in poison.injected] == places
    assert int(model.optimizer.iterations) == EPOCHS * STEPS + len(places)


def test_events_can_be_read_back(tmp_path):
    with EventWriter(tmp_path) as writer:
        poison = PoisonInjection(PoisonSchedule(count=2), extra, writer=writer)
        fit(build(), poison)
    scalars = read_scalars(tmp_path)
    iterations = [event["iteration"] for event in poison.injected]
    assert scalars["poison/injected"] == list(zip(iterations, [1.0, 2.0, 3.0, 4.0]))
    losses = [float(np.float32(event["loss"])) for event in poison.injected]
    assert scalars["poison/loss"] == list(zip(iterations, losses))


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_unknown_number_of_steps():
    def endless():
        while True:
            yield extra(0, 0)

    model = build()
    poison = PoisonInjection(PoisonSchedule(), extra)
    with pytest.raises(ValueError, match="unknown length; pass steps_per_epoch to fit") as raised:
        model.fit(endless(), shuffle=False, verbose=0, callbacks=[poison])
    assert "\n" not in str(raised.value)
    assert int(model.optimizer.iterations) == 0
    model.fit(endless(), steps_per_epoch=3, shuffle=False, verbose=0, callbacks=[poison])
    assert int(model.optimizer.iterations) == 4

    def three():
        yield from [extra(0, number) for number in range(3)]

    harmless = PoisonInjection(PoisonSchedule(count=0), extra)
    model.fit(three(), shuffle=False, verbose=0, callbacks=[harmless])
    assert int(model.optimizer.iterations) == 7


def test_state_round_trip():
    poison = PoisonInjection(PoisonSchedule(count=2), extra)
    fit(build(), poison, epochs=1)
    state = json.loads(json.dumps(poison.get_state()))
    other = PoisonInjection(PoisonSchedule(count=2), extra)
    other.set_state(state)
    assert other.injected == poison.injected and len(other.injected) == 2
    other.injected.append({})
    assert len(state["injected"]) == 2


WEIGHTS = {0: 0.25, 1: 1.0, 2: 4.0}


def weighted_extra(epoch, number):
    x, y = extra(epoch, number)
    return x, y, np.linspace(0.5, 2, len(y)).astype("float32")


@pytest.mark.parametrize("name", ["first", "middle", "last"])
def test_weights_of_classes_reach_extra_batches(name):
    schedule = SCHEDULES[name]
    model, reference = build(), build()
    poison = PoisonInjection(schedule, extra, class_weight=WEIGHTS)
    # Two fits: the second begins where the first has left.
    for _ in range(2):
        model.fit(
            Listed(split(*ordinary())),
            shuffle=False,
            verbose=0,
            callbacks=[poison],
            class_weight=WEIGHTS,
        )
        batches = Listed([batch for batch, _ in spliced(schedule, 0)])
        reference.fit(batches, shuffle=False, verbose=0, class_weight=WEIGHTS)
    for one, other in zip(model.variables, reference.variables, strict=True):
        found, expected = ops.convert_to_numpy(one), ops.convert_to_numpy(other)
        if one.path.startswith("sequential"):
            assert found.tobytes() == expected.tobytes()
    assert len(poison.injected) == 2


def test_a_source_may_weight_its_samples():
    schedule, model, reference = SCHEDULES["middle"], build(), build()
    batches = [(*batch, np.full(len(batch[1]), 0.5, "float32")) for batch in split(*ordinary())]
    poison = PoisonInjection(schedule, weighted_extra)
    model.fit(Listed(batches), shuffle=False, verbose=0, callbacks=[poison])
    batches.insert(schedule.gaps(0, STEPS)[0], weighted_extra(0, 0))
    reference.fit(Listed(batches), shuffle=False, verbose=0)
    for one, other in zip(model.trainable_variables, reference.trainable_variables, strict=True):
        assert ops.convert_to_numpy(one).tobytes() == ops.convert_to_numpy(other).tobytes()


@pytest.mark.parametrize("mode", ["eager", *COMPILED])
@pytest.mark.parametrize("position", ["first", "last"])
def test_weights_on_one_side_alone_are_refused(position, mode):
    skip_without_compiler(mode)
    x, y = ordinary()
    schedule, options = PoisonSchedule(position=position), COMPILED.get(mode, {})
    cases = [
        (PoisonInjection(schedule, extra), {"class_weight": WEIGHTS}),
        (PoisonInjection(schedule, extra), {"sample_weight": np.ones(len(y), "float32")}),
        (PoisonInjection(schedule, extra, class_weight=WEIGHTS), {}),
    ]
    for poison, weights in cases:
        model = build(**options)
        with pytest.raises(ValueError, match="pass (fit's class_weight to|it to fit)") as raised:
            model.fit(
                x, y, batch_size=BATCH_SIZE, epochs=2, verbose=0, callbacks=[poison], **weights
            )
        assert "\n" not in str(raised.value)
    # Without weights, or with them on both sides, the model is as Keras left it.
    model = build(**options)
    poison = PoisonInjection(schedule, extra)
    model.fit(x, y, batch_size=BATCH_SIZE, verbose=0, callbacks=[poison])
    assert model.train_function.__name__ != "looked_at" and len(poison.injected) == 1
