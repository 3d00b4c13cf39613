"""Training on marked batches against crafting first and taking an ordinary step afterwards."""

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops

from keras_dep import DEP
from keras_dep import FGSM
from keras_dep import PGD
from keras_dep import PoisonSchedule
from keras_dep.attacks import MIFGSM
from keras_dep.data.loader import Batches
from keras_dep.training import PerturbedTraining
from keras_dep.training.adversarial import MarkedBatches
from keras_dep.training.adversarial import PoisonSource

SHAPE, CLASSES, BATCH_SIZE, STEPS = (2, 2, 2), 3, 8, 3
BACKEND = keras.backend.backend()
ATTACKS = {
    "fgsm": FGSM(epsilon=0.2),
    "pgd": PGD(epsilon=0.2, step_size=0.1, steps=3, seed=4),
    "mifgsm": MIFGSM(epsilon=0.2, step_size=0.1, steps=3, decay=0.5),
    "other loss": FGSM(epsilon=0.2, loss="margin", targeted=True),
    "pgd from the image": PGD(epsilon=0.2, step_size=0.1, steps=3, random_start=False),
}


def build_network():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input(SHAPE),
            layers.Flatten(),
            layers.Dense(6),
            layers.BatchNormalization(),
            layers.Activation("tanh"),
            layers.Dense(CLASSES),
        ]
    )


def compile_model(model, eager=BACKEND != "jax", dep=False):
    # Eager steps are the cheaper ones in tests, but in JAX, where each branch is compiled anyway.
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.SGD(0.5, momentum=0.9)
    model.compile(
        DEP(optimizer) if dep else optimizer,
        loss,
        metrics=["accuracy"],
        run_eagerly=eager,
        jit_compile=BACKEND == "jax" and not eager,
    )
    return model


def perturbed(attack, **options):
    return compile_model(PerturbedTraining(build_network(), attack), **options)


def data(count=BATCH_SIZE, seed=0):
    draw = np.random.default_rng(seed)
    x = draw.uniform(0, 1, (count, *SHAPE)).astype("float32")
    return x, draw.integers(0, CLASSES, count).astype("int32")


def inputs(x, marks, start=None):
    marks = np.broadcast_to(np.asarray(marks, "float32"), (len(x),)).copy()
    return {"image": x, "adversarial": marks, "start": np.zeros_like(x) if start is None else start}


def batches(epoch=0):
    x, y = data(BATCH_SIZE * STEPS)
    return Batches(x, y, BATCH_SIZE, seed=3, epoch=epoch)


def weights(model):
    return [ops.convert_to_numpy(v.value) for v in [*model.variables, *model.optimizer.variables]]


def assert_same_bits(one, other):
    assert [w.tobytes() for w in weights(one)] == [w.tobytes() for w in weights(other)]


def assert_close(one, other):
    for found, expected in zip(weights(one), weights(other), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["fgsm", "pgd from the image"])
def test_step_is_that_on_images_crafted_before(name):
    attack, (x, y) = ATTACKS[name], data()
    model, reference = perturbed(attack), compile_model(build_network())
    for marks in (1, [1, 0, 0, 1, 1, 0, 1, 0], [0] * 7 + [1]):
        crafted = attack(reference, x, y)
        assert np.abs(crafted - x).max() > 0.1
        chosen = np.broadcast_to(np.array(marks) > 0, (BATCH_SIZE,))[:, None, None, None]
        expected = reference.train_on_batch(np.where(chosen, crafted, x), y)
        found = model.train_on_batch(inputs(x, marks), y)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
        assert_close(model, reference)


def test_unmarked_step_is_the_ordinary_one_bit_for_bit():
    model = perturbed(ATTACKS["fgsm"], eager=False)
    reference = compile_model(build_network(), eager=False)
    x, y = data()
    for _ in range(2):
        model.train_on_batch(inputs(x, 0, np.full_like(x, 0.1)), y)
        reference.train_on_batch(x, y)
    assert_same_bits(model, reference)
    # Plain images pass as they are.
    model.train_on_batch(x, y)
    reference.train_on_batch(x, y)
    assert_same_bits(model, reference)


def test_a_compiled_step_crafts_the_same_but_for_rounding():
    attack = MIFGSM(epsilon=0.2, step_size=0.1, steps=3, loss="margin")
    model, (x, y) = perturbed(attack, eager=False), data()
    reference = compile_model(build_network(), eager=False)
    for _ in range(2):
        crafted = attack(reference, x, y)
        model.train_on_batch(inputs(x, 1), y)
        reference.train_on_batch(crafted, y)
    assert_close(model, reference)


def test_weights_of_classes_reach_the_crafted_batch():
    attack, (x, y) = ATTACKS["fgsm"], data()
    weights_of_classes = {0: 0.2, 1: 1.0, 2: 5.0}
    model, reference = perturbed(attack), compile_model(build_network())
    marked = MarkedBatches(Batches(x, y, BATCH_SIZE, seed=3), "adversarial", attack)
    plain = Batches(x, y, BATCH_SIZE, seed=3)[0]
    crafted = attack(reference, *plain)
    model.fit(marked, epochs=1, verbose=0, class_weight=weights_of_classes)
    reference.train_on_batch(crafted, plain[1], class_weight=weights_of_classes)
    assert_close(model, reference)


@pytest.mark.parametrize("base", ["clean", "adversarial"])
def test_compiled_fit_equals_crafting_batch_by_batch(base):
    attack = ATTACKS["pgd"]
    schedule = PoisonSchedule(first_epoch=1, count=1, seed=2)
    model = perturbed(attack, eager=False, dep=True)
    marked = MarkedBatches(batches(), base, attack, replaced=schedule)
    model.fit(marked, epochs=2, shuffle=False, verbose=0)
    assert marked.batches.epoch == 2
    reference, plain = compile_model(build_network(), eager=False, dep=True), batches()
    crafted_batches = 0
    for epoch in range(2):
        plain.epoch = epoch
        for index in range(STEPS):
            x, y = plain[index]
            if (base == "adversarial") != (index in schedule.batches(epoch, STEPS)):
                x = attack(reference, x, y, seed=[attack.seed, epoch, index])
                crafted_batches += 1
            reference.train_on_batch(x, y)
    assert crafted_batches == (1 if base == "clean" else 2 * STEPS - 1)
    assert_close(model, reference)


def test_crafting_follows_the_weights_within_an_epoch():
    # The same images twice in one epoch: weights that stood still would give the same step twice.
    attack, (x, y) = FGSM(epsilon=0.2), data()
    model, reference = perturbed(attack), compile_model(build_network())
    twice = {name: np.concatenate([part, part]) for name, part in inputs(x, 1).items()}
    labels = np.concatenate([y, y])
    model.fit(twice, labels, batch_size=BATCH_SIZE, shuffle=False, verbose=0)
    stale = attack(reference, x, y)
    for _ in range(2):
        crafted = attack(reference, x, y)
        reference.train_on_batch(crafted, y)
    assert_close(model, reference)
    assert np.abs(crafted - stale).max() > 0.1


def test_a_step_leaves_statistics_to_its_training_pass():
    # Crafting runs in inference mode: the moving average moves once, by the crafted images.
    attack, (x, y) = ATTACKS["pgd from the image"], data()
    model = perturbed(attack)
    normalisation = model.network.layers[2]
    crafted = attack(model.network, x, y)
    hidden = model.network.layers[1](crafted.reshape(BATCH_SIZE, -1))
    expected = 0.01 * ops.convert_to_numpy(hidden).mean(axis=0)
    model.train_on_batch(inputs(x, 1), y)
    found = ops.convert_to_numpy(normalisation.moving_mean)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("base", ["clean", "adversarial"])
@pytest.mark.parametrize("replaced", [None, PoisonSchedule(first_epoch=1, count=2, seed=5)])
def test_marks_follow_base_and_schedule(base, replaced):
    attack = ATTACKS["pgd"]
    marked = MarkedBatches(batches(), base, attack, replaced=replaced)
    plain = batches()
    assert len(marked) == STEPS
    odd = 0
    for epoch in range(4):
        marked.batches.epoch = plain.epoch = epoch
        places = replaced.batches(epoch, STEPS) if replaced else ()
        for index in range(STEPS):
            (x, y), (images, labels) = marked[index], plain[index]
            np.testing.assert_array_equal(x["image"], images)
            np.testing.assert_array_equal(y, labels)
            adversarial = (index in places) != (base == "adversarial")
            odd += index in places
            assert x["adversarial"].shape == (BATCH_SIZE,)
            assert (x["adversarial"] == float(adversarial)).all()
            assert x["start"].dtype == np.float32 and x["start"].shape == images.shape
            assert np.abs(x["start"]).max() <= np.float32(0.2)
            assert bool(x["start"].any()) == adversarial
    assert odd == (6 if replaced else 0)


def test_starts_are_seeded_by_attack_epoch_and_batch():
    def start(seed, epoch, index):
        attack = PGD(epsilon=0.1, seed=seed)
        return MarkedBatches(batches(epoch), "adversarial", attack)[index][0]["start"]

    first = start(0, 0, 1)
    np.testing.assert_array_equal(start(0, 0, 1), first)
    for other in (start(1, 0, 1), start(0, 1, 1), start(0, 0, 2)):
        assert np.abs(other - first).max() > 0.05
    still = MarkedBatches(batches(), "adversarial", FGSM(epsilon=0.1))[0][0]
    assert not still["start"].any() and still["adversarial"].all()


def test_files_of_old_hold_the_settings_of_a_pgd():
    config = PerturbedTraining(build_network(), ATTACKS["fgsm"]).get_config()
    old = {"epsilon": 0.2, "step_size": 0.1, "steps": 3, "random_start": True, "norm": "Linf"}
    loaded = PerturbedTraining.from_config({**config, "attack": {**old, "seed": 4}})
    assert loaded.attack.get_config() == ATTACKS["pgd"].get_config()


def test_an_attack_that_would_not_come_back_is_not_saved():
    class Softened(PGD):
        def __init__(self, softness=1.0, **options):
            super().__init__(**options)
            self.softness = softness

    model = PerturbedTraining(build_network(), Softened(softness=2.0))
    with pytest.raises(ValueError, match="Softened.get_config must give all.*loses softness"):
        model.get_config()


@pytest.mark.parametrize("name", ["fgsm", "pgd", "mifgsm", "other loss"])
def test_save_load_and_go_on_exactly(tmp_path, name):
    model, (x, y) = perturbed(ATTACKS[name]), data()
    model.train_on_batch(inputs(x, 1), y)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(loaded, PerturbedTraining) and type(loaded.attack) is type(model.attack)
    assert loaded.attack.get_config() == model.attack.get_config()
    assert loaded.attack.threat == model.attack.threat and loaded.attack.seed == model.attack.seed
    assert_same_bits(loaded, model)
    for each in (model, loaded):
        each.train_on_batch(inputs(x, 1), y)
    assert_same_bits(loaded, model)
    model.network.save(tmp_path / "network.keras")
    network = keras.saving.load_model(tmp_path / "network.keras")
    np.testing.assert_array_equal(
        ops.convert_to_numpy(network(x)), ops.convert_to_numpy(model.network(x))
    )


def test_plain_images_are_evaluated_and_predicted_by_the_network():
    model, (x, y) = perturbed(ATTACKS["pgd"]), data(20)
    network = compile_model(model.network)
    np.testing.assert_array_equal(model.predict(x, verbose=0), network.predict(x, verbose=0))
    np.testing.assert_array_equal(
        model.predict(inputs(x, 1), verbose=0), network.predict(x, verbose=0)
    )
    assert model.evaluate(x, y, verbose=0) == network.evaluate(x, y, verbose=0)
    assert ops.convert_to_numpy(model(x)).shape == (20, CLASSES)


def test_poison_source_is_seeded():
    images, labels = np.arange(20.0, dtype="float32")[:, None] / 20, np.arange(20)
    source = PoisonSource(images, labels, batch_size=12, seed=3)
    x, y = source(epoch=1, number=0)
    assert x.dtype == np.float32 and y.dtype == np.int32
    np.testing.assert_array_equal(x[:, 0], images[y, 0])
    assert len(set(y)) == 12
    np.testing.assert_array_equal(source(1, 0)[1], y)
    np.testing.assert_array_equal(PoisonSource(images, labels, 12, seed=3)(1, 0)[1], y)
    others = [source(2, 0), source(1, 1), PoisonSource(images, labels, 12, seed=4)(1, 0)]
    assert all((other[1] != y).any() for other in others)


def test_poison_source_may_repeat_its_images():
    images, labels = np.zeros((20, 1), "float32"), np.arange(20)
    source = PoisonSource(images, labels, batch_size=8, resample=False)
    np.testing.assert_array_equal(source(0, 1)[1], source(5, 1)[1])
    assert (source(0, 0)[1] != source(0, 1)[1]).any()


def test_poison_source_scales_bytes():
    images = np.arange(256, dtype="uint8")[:, None]
    x, y = PoisonSource(images, np.arange(256), batch_size=256)(0, 0)
    np.testing.assert_array_equal(x[:, 0], (y / np.float32(255)).astype("float32"))


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: PerturbedTraining(build_network(), PGD(restarts=2)),
            "one search per batch; received restarts=2; use restarts=1",
        ),
        (
            lambda: MarkedBatches(batches(), "dirty", FGSM()),
            "base must be one of clean, adversarial; received 'dirty'",
        ),
        (
            lambda: PerturbedTraining(build_network(), PGD(estimator="rga")),
            "an estimator needs spiking layers derived from keras_dep.LIF; received none",
        ),
        (
            lambda: PerturbedTraining(
                keras.Sequential([keras.Input((4,)), layers.Dense(2)]), PGD(loss="dlr")
            ),
            "loss='dlr' needs at least 3 classes; received 2",
        ),
        (lambda: PoisonSource(*data(), 9), r"batch_size must lie in \[1, 8\].*received 9"),
        (lambda: PoisonSource(*data(), 0), r"batch_size must lie in \[1, 8\].*received 0"),
    ],
    ids=["restarts", "base", "layers", "classes", "too many", "none"],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message) as raised:
        call()
    assert "\n" not in str(raised.value)
