"""What an attack is given: labels in any form are the same labels, everything else is refused."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_dep import attacks
from keras_dep.models import inference
from tests.support.attack_table import BUILDERS
from tests.support.attack_table import MODEL
from tests.support.attack_table import images

CLASSES = 4
MORE = {
    "gaussian": lambda e: attacks.GaussianNoise(std=e),
    "margin": lambda e: attacks.PGD(epsilon=e, steps=2, loss="margin"),
    "dlr": lambda e: attacks.APGD(epsilon=e, steps=2, loss="dlr"),
    "towards, pgd": lambda e: attacks.PGD(epsilon=e, steps=2, targeted=True),
    "towards, apgd": lambda e: attacks.APGD(epsilon=e, steps=2, loss="margin", targeted=True),
    "towards, spsa": lambda e: attacks.SPSA(epsilon=e, steps=2, directions=2, targeted=True),
    "towards, square": lambda e: attacks.Square(epsilon=e, queries=4, targeted=True),
    "towards, corners": lambda e: attacks.RandomSearch(epsilon=e, draws=3, targeted=True),
}
ALL = {**BUILDERS, **MORE}
FORMS = {
    "column": lambda y: y[:, None],
    "column of bytes": lambda y: y[:, None].astype("uint8"),
    "one-hot": lambda y: np.eye(CLASSES, dtype="float32")[y],
    "list": lambda y: y.tolist(),
    "tensor": lambda y: ops.convert_to_tensor(y[:, None]),
}


@pytest.mark.parametrize("name", ALL)
def test_every_form_of_labels_gives_the_same_images(name):
    x, y = images()
    attack = ALL[name](0.2)
    expected = attack(MODEL, x, y)
    assert (expected != x).any()
    for form, given in FORMS.items():
        assert attack(MODEL, x, given(y)).tobytes() == expected.tobytes(), form


def test_every_form_gives_the_same_gradient_and_released_images():
    x, y = images()
    expected = attacks.FGSM(loss="margin").gradient(MODEL, x, y)
    inputs = keras.Input(x.shape[1:])
    normalised = keras.Model(inputs, MODEL(keras.layers.Normalization(mean=0, variance=1)(inputs)))
    with pytest.warns(UserWarning):
        released = attacks.ReferenceCodeAttack(attacks.FGSM(epsilon=0.1))
    shown, answers = released(normalised, x, y), released.answers(normalised, x, y)
    for given in FORMS.values():
        found = attacks.FGSM(loss="margin").gradient(MODEL, x, given(y))
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(released(normalised, x, given(y)), shown)
        found = ops.convert_to_numpy(released.answers(normalised, x, given(y)))
        np.testing.assert_array_equal(found, ops.convert_to_numpy(answers))


@pytest.mark.parametrize(
    "labels, message",
    [
        (lambda y: y + 1, "from 0 to 3, of 4 classes.*received .* with the label 4"),
        (lambda y: y - 1, "with the label -1"),
        (lambda y: y + 0.5, r"with the label \d.5"),
        (lambda y: np.where(y == y, np.nan, 0), "with the label nan"),
        (lambda y: np.eye(5)[y], r"received float64 \(6, 5\)"),
        (lambda y: y.astype(str), "labels must be whole numbers .* received <U"),
        (lambda y: y[:, None, None], r"received int32 \(6, 1, 1\)"),
    ],
    ids=["above", "below", "between", "nan", "too wide", "text", "rank"],
)
@pytest.mark.parametrize("build", [attacks.FGSM, attacks.Square, attacks.APGDT])
def test_what_is_no_class_is_refused(build, labels, message):
    x, y = images()
    y[:2] = 0, 3
    with pytest.raises(ValueError, match=message) as raised:
        build(epsilon=0.1)(MODEL, x, labels(y))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", sorted(set(ALL) - {"uniform"}))
def test_no_images_and_bad_seeds_are_refused(name):
    x, y = images()
    attack = ALL[name](0.1)
    with pytest.raises(ValueError, match="at least one image .* received 0 images and 0 labels"):
        attack(MODEL, x[:0], y[:0])
    for seed in (-1, 1.5, [3, -1], "7"):
        with pytest.raises(ValueError, match="seed must be .*at least 0; received"):
            attack(MODEL, x, y, seed=seed)


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: attacks.PGD(steps=2.5), "steps must be a whole number, at least 1; received 2.5"),
        (lambda: attacks.PGD(restarts=1.5), "restarts must be a whole number"),
        (lambda: attacks.APGD(steps="7"), "steps must be a whole number, at least 1; received '7'"),
        (lambda: attacks.SAPGD(steps=True), "steps must be a whole number"),
        (lambda: attacks.APGDT(classes=2.0), "classes must be a whole number"),
        (lambda: attacks.FGSM(samples=1.5), "samples must be a whole number"),
        (lambda: attacks.SPSA(directions=1.5), "directions must be a whole number"),
        (lambda: attacks.Square(queries=10.0), "queries must be a whole number"),
        (lambda: attacks.RandomSearch(draws=None), "draws must be a whole number.*received None"),
        (lambda: attacks.PGD(seed=-1), "seed must be at least 0; received -1"),
        (lambda: attacks.Square(seed=None), "seed must be a whole number.*received None"),
        (lambda: attacks.GaussianNoise(seed=0.5), "seed must be a whole number.*received 0.5"),
    ],
)
def test_bad_numbers(build, message):
    with pytest.raises(ValueError, match=message) as raised:
        build()
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ALL)
def test_an_answer_that_is_not_finite_fools_and_reaches_no_class(name):
    x, y = images()
    attack = ALL[name](0.2)
    found = attack(broken(), x, y)
    assert np.isfinite(found).all() and np.abs(found - x).max() <= 1
    outputs = ops.convert_to_tensor(broken().predict_on_batch(x))
    success = ops.convert_to_numpy(attack.success(ops.convert_to_tensor(y), outputs))
    assert (success == (-np.inf if attack.targeted else np.inf)).all()


def broken():
    if not BROKEN:
        body = [keras.Input(MODEL.input_shape[1:]), MODEL, keras.layers.Rescaling(np.nan)]
        BROKEN.append(keras.Sequential(body))
    return BROKEN[0]


BROKEN = []


class Answers(keras.Model):
    """A network with a `call` of its own, which Keras cannot tell the shape of."""

    def __init__(self, classes, outputs=1):
        super().__init__()
        self.flat = keras.layers.Flatten()
        self.dense = keras.layers.Dense(classes)
        self.outputs_wanted = outputs

    def call(self, inputs):
        found = self.dense(self.flat(inputs))
        return found if self.outputs_wanted == 1 else {"logits": found, "features": inputs}


@pytest.mark.parametrize("loss", ["ce", "dlr"])
def test_networks_with_a_call_of_their_own(loss):
    x, y = images()
    model = Answers(CLASSES)
    model(x)
    inputs = keras.Input(x.shape[1:])
    twin = keras.Model(inputs, model.dense(model.flat(inputs)))
    for build in (attacks.APGD, attacks.PGD):
        attack = build(epsilon=0.1, steps=3, loss=loss)
        np.testing.assert_allclose(attack(model, x, y), attack(twin, x, y), atol=1e-6)
    assert attacks.APGDT(epsilon=0.1, steps=2, classes=2)(model, x, y).shape == x.shape
    assert inference.class_count(model, x) == inference.class_count(twin, x) == CLASSES


@pytest.mark.parametrize("as_graph", [False, True], ids=["own call", "graph"])
@pytest.mark.parametrize(
    "options, message",
    [
        (dict(classes=1), r"at least two classes; received shape=\(.*1\).*two logits"),
        (dict(classes=4, outputs=2), "must answer one tensor of logits; .* answers (dict|list)"),
    ],
    ids=["one", "dict"],
)
def test_answers_that_are_no_logits(options, message, as_graph):
    x, y = images()
    model = Answers(**options)
    model(x)
    if as_graph:
        inputs = keras.Input(x.shape[1:])
        model = keras.Model(inputs, model.call(inputs))
    for attack in (attacks.FGSM(), attacks.Square(queries=2), attacks.APGD(loss="dlr")):
        with pytest.raises(ValueError, match=message) as raised:
            attack(model, x, np.zeros_like(y))
        assert "\n" not in str(raised.value)


def test_square_follows_the_model_at_hand():
    body = [
        keras.Input((3, 8, 8)),
        keras.layers.GlobalAveragePooling2D(data_format="channels_first"),
        keras.layers.Dense(2, kernel_initializer="zeros"),
    ]
    model = keras.Sequential(body)
    # Wrong as it is: the search ends with what it starts from.
    model.layers[-1].bias.assign([0.0, 1.0])
    x = np.full((1, 3, 8, 8), 0.5, "float32")
    change = attacks.Square(epsilon=0.1, queries=1)(model, x, np.zeros(1, "int32")) - x
    # Stripes run down the rows of each map.
    assert (np.abs(change) > 0.05).all() and (change == change[:, :, :1]).all()
