"""Answers that are not finite, images that are none and labels in every form, at every door of an
evaluation: a count is right, or there is none."""

import json
import math

import keras
import numpy as np
import pytest
from keras import ops

from keras_dep import MeanLogitAccuracy
from keras_dep import attacks
from keras_dep import evaluate
from keras_dep.attacks import FGSM
from keras_dep.callbacks import CollapseWatch
from keras_dep.callbacks import RobustnessLog
from keras_dep.evaluation import accuracy
from keras_dep.evaluation import checklist
from keras_dep.evaluation import epsilon_sweep
from keras_dep.evaluation import gradient_health
from keras_dep.evaluation import released_protocol
from keras_dep.evaluation import report
from keras_dep.evaluation import robust_accuracy
from keras_dep.evaluation import step_sweep
from keras_dep.models import inference

COUNT, FEATURES, CLASSES = 20, 4, 4
EPSILON = 0.1


def network(*after):
    """The class is the brightest pixel; normalised, as the released protocol asks for."""
    dense = keras.layers.Dense(CLASSES, use_bias=False)
    body = [keras.Input((FEATURES,)), keras.layers.Normalization(mean=0.5, variance=0.25), dense]
    model = keras.Sequential([*body, *after])
    dense.set_weights([10 * np.eye(FEATURES)])
    return model


class Where(keras.layers.Layer):
    """Logits that are not finite where the first of them is above a limit."""

    def __init__(self, limit, value):
        super().__init__()
        self.limit, self.value = limit, value

    def call(self, logits):
        first = logits[:, :1]
        return ops.where(first > self.limit, self.value * ops.ones_like(logits), logits)


def data():
    draw = np.random.default_rng(0)
    y = np.arange(COUNT) % CLASSES
    x = draw.uniform(0.3, 0.4, (COUNT, FEATURES))
    x[np.arange(COUNT), y] = 0.7
    return x.astype("float32"), y


FORMS = {
    "column": lambda y: y[:, None],
    "one-hot": lambda y: np.eye(CLASSES)[y],
    "tensor": lambda y: ops.convert_to_tensor(y[:, None]),
    "list": lambda y: y.tolist(),
}


@pytest.fixture(scope="module")
def model():
    return network()


@pytest.mark.parametrize("form", FORMS)
def test_a_network_that_is_right_everywhere_is_right_with_labels_of_any_form(model, form):
    x, y = data()
    y = FORMS[form](y)
    watch = CollapseWatch(x, y)
    watch.before(model, 0, 0)
    watch.after(model, 0, 0)
    assert (watch.events[0]["before"], watch.chance) == (1.0, 1 / CLASSES)
    log = RobustnessLog(x, y, FGSM(epsilon=0.0), network=model, batch_size=8)
    assert log.measure()["accuracy"] == 1.0
    assert robust_accuracy(model, FGSM(epsilon=0.0), x, y)["accuracy"] == 1.0
    assert evaluate(model, x, y, {"a": FGSM(epsilon=0.0)}, verbose=0)["worst_case"]["accuracy"] == 1
    assert accuracy.right(model, x, y).all()
    assert all(
        still.all() for still, _, _ in accuracy.under_attack(model, FGSM(epsilon=0), x, y, 8)
    )
    assert inference.accuracy_and_loss(model, x, y)[0] == 1.0
    assert epsilon_sweep(model, x, y, epsilons=[0])[0]["accuracy"] == 1.0
    assert gradient_health(model, x, y)["zero_images"] == 0
    metric = MeanLogitAccuracy()
    metric.update_state(y, ops.convert_to_tensor(model.predict_on_batch(x)))
    assert float(metric.result()) == 1.0
    (row,) = checklist(model, x, y, checks=[15], epsilon=EPSILON)
    assert row["measured"]["clean"] == 1.0
    with pytest.warns(UserWarning):
        rows = released_protocol(model, x, y, steps=1)
    assert rows[2]["accuracy"] == 1.0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf], ids=str)
def test_a_network_that_answers_nothing_is_right_nowhere(value, tmp_path):
    x, _ = data()
    y = np.zeros(COUNT, int)
    broken = network(Where(-1e9, value))
    path = tmp_path / "evaluation.json"
    found = evaluate(broken, x, y, {"a": FGSM(epsilon=EPSILON)}, file=path, verbose=0)
    for each in (found["clean"], found["worst_case"]):
        assert (each["accuracy"], each["correct"]) == (0.0, 0)
    assert found["clean"]["non_finite_answers"] == COUNT
    assert set(found["broken_by"]) == {"clean"}
    json.loads(path.read_text(), parse_constant=lambda text: pytest.fail(f"{text} is no JSON"))
    assert f"per attack: none {COUNT}" in report.markdown(found)
    found = robust_accuracy(broken, FGSM(epsilon=EPSILON), x, y)
    assert (found["accuracy"], found["non_finite_answers"]) == (0.0, COUNT)
    log = RobustnessLog(x, y, FGSM(epsilon=EPSILON), network=broken)
    found = log.measure()
    assert (found["accuracy"], found["non_finite_answers"]) == (0.0, COUNT)
    watch = CollapseWatch(x, y)
    watch.before(broken, 0, 0)
    watch.after(broken, 0, 0)
    event = watch.events[0]
    assert (event["after"], event["non_finite_answers"], event["collapsed"]) == (0.0, COUNT, True)
    metric = MeanLogitAccuracy()
    metric.update_state(y, ops.convert_to_tensor(broken.predict_on_batch(x)))
    assert float(metric.result()) == 0.0
    assert math.isnan(inference.score(broken, x, y).loss)
    (row,) = checklist(broken, x, y, checks=[7], epsilon=EPSILON)
    assert row["passed"] is False and row["measured"]["non_finite_answers"] == COUNT
    with pytest.warns(UserWarning):
        rows = released_protocol(broken, x, y, steps=1)
    assert {(row["correct"], row["non_finite_answers"]) for row in rows} == {(0, COUNT)}


def test_an_attack_that_ends_in_an_answer_that_is_not_finite_has_fooled():
    """Of class 0, a brighter first pixel makes every logit NaN; nothing else fools."""
    x, y = data()
    x[y == 0, 0] = 0.9
    fragile = network(Where(10 * (0.9 + 0.02 - 0.5) / 0.5, np.nan))

    def brighter(model, images, labels):
        return np.clip(images + np.float32(0.05) * np.eye(FEATURES, dtype="float32")[0], 0, 1)

    suite = {"brighter": brighter, "nothing": FGSM(epsilon=0.0)}
    found = evaluate(fragile, x, y, suite, early_exit=False, batch_size=8, verbose=0)
    assert found["clean"]["accuracy"] == 1.0 and found["clean"]["non_finite_answers"] == 0
    zeros = int((y == 0).sum())
    rows = {row["attack"]: row for row in found["attacks"]}
    assert rows["brighter"]["broken"] == rows["brighter"]["non_finite_answers"] == zeros
    assert rows["nothing"]["broken"] == rows["nothing"]["non_finite_answers"] == 0
    assert found["worst_case"]["correct"] == COUNT - zeros
    assert f"per attack: brighter {zeros}" in report.markdown(found)
    # An attack that chooses among points takes that for success.
    found = robust_accuracy(fragile, attacks.RandomSearch(epsilon=0.05, draws=20), x, y)
    assert found["non_finite_answers"] == zeros and found["correct"] == COUNT - zeros


DOORS = {
    "evaluate": lambda m, x, y, **k: evaluate(m, x, y, "paper", verbose=0, **k),
    "robust_accuracy": lambda m, x, y, **k: robust_accuracy(m, FGSM(), x, y, **k),
    "under_attack": lambda m, x, y, **k: list(accuracy.under_attack(m, FGSM(), x, y, **k)),
    "epsilon_sweep": lambda m, x, y, **k: epsilon_sweep(m, x, y, epsilons=[0.1], **k),
    "step_sweep": lambda m, x, y, **k: step_sweep(m, x, y, steps=[1], **k),
    "checklist": lambda m, x, y, **k: checklist(m, x, y, checks=[15], **k),
    "gradient_health": lambda m, x, y, **k: gradient_health(m, x, y, **k),
    "released_protocol": lambda m, x, y, **k: released_protocol(m, x, y, **k),
    "RobustnessLog": lambda m, x, y, **k: RobustnessLog(x, y, FGSM(), network=m, **k).measure(),
    "CollapseWatch": lambda m, x, y, **k: CollapseWatch(x, y, **k).before(m, 0, 0),
}


@pytest.mark.parametrize("door", DOORS)
def test_every_door_refuses_what_is_no_data(model, door):
    """Labels that are all wrong: nothing would be attacked, and nothing noticed."""
    x, y = data()
    wrong, ask = (y + 1) % CLASSES, DOORS[door]
    cases = [
        (np.where(x > 0.6, np.nan, x), wrong, "Images must lie in .*not finite in 20 of 20"),
        (255 * x, wrong, r"Images must lie in \[0, 1\]; received values from"),
        (2 * x - 1, wrong, r"Images must lie in \[0, 1\]; received values from"),
        (x, y[1:], "one label each; received 20 images and 19 labels"),
        (x, y + 1, "labels must be whole numbers .* with the label 4"),
        (x, y - 1, "with the label -1"),
        (x, y + 0.5, "with the label 0.5"),
    ]
    if door != "under_attack":
        cases.append((x[:0], y[:0], "at least one image and one label each; received 0"))
    for images, labels, message in cases:
        with pytest.raises(ValueError, match=message) as raised:
            ask(model, images, labels)
        assert "\n" not in str(raised.value)
    for size in (0, -1, 2.5, None):
        with pytest.raises(ValueError, match="batch_size must be .*at least 1; received"):
            ask(model, x, y, batch_size=size)


@pytest.mark.parametrize(
    "door", ["evaluate", "epsilon_sweep", "step_sweep", "checklist", "released_protocol"]
)
@pytest.mark.parametrize("seed", [-1, None, 0.5])
def test_every_door_refuses_what_is_no_seed(model, door, seed):
    with pytest.raises(ValueError, match="seed must be .*at least 0; received"):
        DOORS[door](model, *data(), seed=seed)


def test_other_numbers_that_are_no_numbers(model):
    cases = {
        "steps": lambda: step_sweep(model, *data(), steps=[2.5]),
        "restarts": lambda: checklist(model, *data(), restarts=0),
        "queries": lambda: checklist(model, *data(), queries=2.5),
        "every": lambda: RobustnessLog(*data(), every=1.5),
    }
    for name, ask in cases.items():
        with pytest.raises(ValueError, match=f"{name} must be .*at least 1; received"):
            ask()


@pytest.mark.parametrize("door", sorted(set(DOORS) - {"released_protocol"}))
def test_one_logit_is_refused_by_name(door):
    single = keras.Sequential([keras.Input((FEATURES,)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="at least two classes; received .* end a binary model in"):
        DOORS[door](single, data()[0], np.zeros(COUNT, int))


def test_images_of_an_attack_are_checked(model):
    x, y = data()
    cases = {
        "must return finite images": lambda m, x, y: x * np.nan,
        r"attack <lambda> must return images like .*\(32, 4\); received \(32, 3\)": (
            lambda m, x, y: x[:, :3]
        ),
    }
    for message, attack in cases.items():
        with pytest.raises(ValueError, match=message):
            robust_accuracy(model, attack, x, y)


def test_probabilities_are_refused_and_a_collapsed_network_is_not():
    x, y = data()
    inputs = keras.Input(x.shape[1:])
    logits = keras.layers.Dense(CLASSES)(inputs)
    sure = keras.Model(inputs, keras.layers.Softmax()(logits), name="sure")
    message = "model 'sure' answers with probabilities, .* without the softmax at its end"
    for measure in (
        lambda: evaluate(sure, x, y, "paper", verbose=0),
        lambda: robust_accuracy(sure, FGSM(), x, y),
        lambda: checklist(sure, x, y, checks=[1]),
    ):
        with pytest.raises(ValueError, match=message):
            measure()
    assert evaluate(keras.Model(inputs, logits), x, y, "paper", verbose=0)["finished"]
    # The same answer to every image, which happens to sum to one.
    collapsed = keras.Model(inputs, logits)
    collapsed.set_weights([0 * collapsed.get_weights()[0], np.eye(CLASSES)[0]])
    assert evaluate(collapsed, x, y, "paper", verbose=0)["finished"]
