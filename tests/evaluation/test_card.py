"""The result card shows the numbers of the record, on paper and in the picture."""

import copy

import keras
import numpy as np
import pytest

from keras_dep import attacks
from keras_dep import evaluate
from keras_dep.evaluation import card
from keras_dep.evaluation import card_picture
from keras_dep.evaluation import epsilon_sweep
from keras_dep.evaluation.card import contents

CLASSES, COUNT = 3, 12
REPORTED = {"PGD-7, elsewhere": {"accuracy": 0.25, "interval": [0.1, 0.5]}}
CHECKS = [
    {"number": 1, "name": "one step beats many", "passed": True, "measured": {}},
    {"number": 8, "name": "another surrogate", "passed": None, "measured": {"left_out": "a"}},
    {"number": 11, "name": "averaged gradients", "passed": None, "measured": {}},
    {"number": 12, "name": "differences", "passed": False, "measured": {}},
]


@pytest.fixture(scope="module")
def measured():
    """A record with an early exit, in which attacks differ, and a sweep."""
    draw = np.random.default_rng(0)
    layers = [keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(CLASSES)]
    model = keras.Sequential(layers)
    model.set_weights([draw.normal(size=(16, CLASSES)), np.zeros(CLASSES)])
    x = draw.random((COUNT, 4, 4, 1), "float32")
    y = model.predict_on_batch(x).argmax(axis=1)
    y[0] = (y[0] + 1) % CLASSES
    suite = {
        "fgsm": attacks.RandomSearch(epsilon=0.1, draws=1),
        "pgd-7": attacks.PGD(epsilon=0.1, steps=1, step_size=0.02),
        "apgd": attacks.APGD(epsilon=0.1, steps=5),
    }
    facts = {"model_file": "net.py:make", "weights_file": "net.pth"}
    record = evaluate(model, x, y, suite, early_exit=True, facts=facts, verbose=0)
    with pytest.raises(ValueError, match="must not replace what is measured; received weights"):
        evaluate(model, x, y, suite, facts={"weights": "net.pth"}, verbose=0)
    return record, epsilon_sweep(model, x, y, epsilons=(0, 0.1, 0.4), steps=2)


def test_the_card_holds_the_numbers_of_the_record(measured, tmp_path):
    record, points = measured
    worst, clean = record["worst_case"], record["clean"]
    text = card(record, points, CHECKS, title="Three", reported=REPORTED, folder=tmp_path)
    assert (tmp_path / "card.md").read_text() == text
    assert (tmp_path / "card.png").read_bytes().startswith(b"\x89PNG")
    low, high = (100 * end for end in worst["interval"])
    lines = text.splitlines()
    assert lines[0] == "# Robustness of Three"
    assert lines[2] == (
        f"**{100 * worst['accuracy']:.2f} %** of {COUNT} images withstand all 3 attacks in the "
        f"L-infinity ball of radius 25.5/255 (95 % interval {low:.2f} to {high:.2f} %)."
    )
    rows = {name: cells for name, *cells in map(cells_of, lines) if cells}
    assert rows["no attack"][0] == f"{100 * clean['accuracy']:.2f} %"
    assert rows["FGSM"][0] == f"{100 * record['attacks'][0]['accuracy']:.2f} %"
    # After an early exit, the second attack is known only together with the first.
    assert record["attacks"][1]["accuracy"] is None
    together = record["attacks"][1]["standing"]
    assert rows["FGSM + PGD-7"][0] == f"{100 * together / COUNT:.2f} %"
    assert rows["PGD-7, elsewhere (measured elsewhere)"] == ["25.00 %", "10.00 to 50.00 %"]
    assert rows["**all attacks**"][1] == f"{low:.2f} to {high:.2f} %"
    broken = max(record["attacks"], key=lambda each: each["broken"])
    share = f"{broken['attack']} ({broken['broken']} of {broken['attacked']} images attacked)"
    assert f"{share} broke most." in text
    assert rows["102"][1].startswith(f"{100 * points[-1]['accuracy']:.2f} %")
    assert "1 passed, 1 left out, 1 not applicable, 1 failed" in text
    assert rows["12"] == ["differences", "failed"]
    assert rows["file"] == ["net.py:make, net.pth"]
    assert rows["weights"] == [f"fingerprint {record['protocol']['weights']}"]


def test_the_picture_shows_the_same(measured):
    record, points = measured
    found = contents(record, points, CHECKS, reported=REPORTED, chance=1 / 3)
    figure = card_picture.page(found)
    words = [text.get_text() for text in figure.texts]
    assert f"{100 * record['worst_case']['accuracy']:.2f} %" in words
    assert "Suite 'custom': an upper bound, which the reliable suite may lower." in words
    bars, curve, strongest = figure.axes
    widths = [100 * bar["accuracy"] for bar in found["bars"]]
    np.testing.assert_allclose([bar.get_width() for bar in bars.patches], widths)
    assert widths[-1] == 100 * record["worst_case"]["accuracy"]
    drawn = {container.get_label(): container[0].get_xydata() for container in curve.containers}
    for name in ("fgsm", "pgd"):
        expected = [
            (255 * p["epsilon"], 100 * p["accuracy"]) for p in points if p["attack"] == name
        ]
        np.testing.assert_allclose(drawn[name], expected)
    np.testing.assert_allclose(drawn["all attacks"], [(25.5, widths[-1])])
    broken = sorted((each["broken"] for each in record["attacks"]), reverse=True)
    shown = [bar.get_width() for bar in strongest.patches]
    assert shown == [each for each in broken if each]
    # Nothing leaves the page.
    figure.canvas.draw()
    page = figure.bbox
    for text in figure.texts:
        box = text.get_window_extent()
        assert page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0, text


def test_what_was_left_out_is_said_on_both(measured):
    record = copy.deepcopy(measured[0])
    names = [f"apgd-rule-{number}-100" for number in range(14)]
    record["left_out"] = [{"attacks": names, "reason": "Firing may hold spikes"}]
    text = card(record)
    assert "**Not called reliable: 14 attacks of the suite were left out, because Firing" in text
    assert all(name in text for name in names)
    words = " ".join(each.get_text() for each in card_picture.page(contents(record)).texts)
    assert "Not called reliable: 14 attacks" in words and all(name in words for name in names)
    assert "The checklist was not run." in words and "no sweep" not in text.lower()
    record["left_out"], record["reliable"] = [], True
    assert "**Reliable suite, complete: no attack was left out.**" in card(record)


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda record, points: record.update(finished=False), "record must be a finished"),
        (lambda record, points: points[0].update(steps=3), "received one over steps"),
        (lambda record, points: points[0].update(norm="L2"), "Linf and 12; received L2 and 12"),
        (lambda record, points: points[0].update(images=7), "received Linf and 7"),
    ],
    ids=["unfinished", "steps", "norm", "images"],
)
def test_what_does_not_belong_together_is_refused(measured, change, words):
    record, points = copy.deepcopy(measured)
    change(record, points)
    with pytest.raises(ValueError, match=words):
        card(record, points)


def cells_of(line):
    return [cell.strip() for cell in line.strip("|").split("|")]
