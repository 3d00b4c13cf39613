"""Evaluation against counting by hand, its early exits, and going on behind a stop."""

import dataclasses
import json

import keras
import numpy as np
import pytest

import keras_dep
from keras_dep import evaluate
from keras_dep._internal import records
from keras_dep.attacks import APGD
from keras_dep.attacks import BIM
from keras_dep.attacks import FGSM
from keras_dep.attacks import PGD
from keras_dep.attacks import GaussianNoise
from keras_dep.attacks import RandomSearch
from keras_dep.attacks import Transfer
from keras_dep.evaluation import craft
from keras_dep.evaluation import gradient_health
from keras_dep.evaluation import suites
from keras_dep.evaluation import summary
from keras_dep.models import inference
from keras_dep.models import with_frames
from tests.support.stateful import everything

EPSILON = 0.06
SUITE = {
    "noise": GaussianNoise(std=EPSILON),
    "corners": RandomSearch(epsilon=EPSILON, draws=3),
    "fgsm": FGSM(epsilon=EPSILON),
    "pgd": PGD(epsilon=EPSILON, step_size=0.02, steps=6),
    "apgd": APGD(epsilon=EPSILON, steps=8),
}


def survives(model, attack, x, y):
    return inference.logits(model, attack(model, x, y)).argmax(axis=1) == y


@pytest.fixture(scope="module")
def whole(honest, held_out):
    return evaluate(honest, *held_out, SUITE, batch_size=20, early_exit=False, verbose=0)


def test_counts_are_those_made_by_hand(honest, held_out, whole):
    x, y = held_out
    right = inference.logits(honest, x).argmax(axis=1) == y
    standing = right.copy()
    assert 0 < right.sum() and whole["clean"]["accuracy"] == right.mean()
    for row in whole["attacks"]:
        survived = right & survives(honest, SUITE[row["attack"]], x, y)
        assert row["accuracy"] == survived.mean() and row["attacked"] == right.sum()
        assert row["broken"] == (right & ~survived).sum()
        if row["attack"] == "noise":
            assert not row["counts"]
            continue
        standing &= survived
        assert row["counts"] and row["standing"] == standing.sum()
        assert 0.9 * EPSILON < row["largest_change"] <= EPSILON + 1e-6
    assert whole["worst_case"]["accuracy"] == standing.mean() < right.mean()
    assert [by is None for by in whole["broken_by"]] == standing.tolist()
    assert [by == "clean" for by in whole["broken_by"]] == (~right).tolist()
    assert whole["worst_case"]["accuracy"] <= min(
        row["accuracy"] for row in whole["attacks"] if row["counts"]
    )


def test_a_run_measured_here_and_by_attacking_every_image(honest, held_out, whole):
    x, y = held_out
    right = inference.logits(honest, x).argmax(axis=1) == y
    rows = {row["attack"]: row for row in whole["attacks"]}
    for name in ("fgsm", "pgd"):
        crafted = craft(honest, SUITE[name], x, y, batch_size=20)
        np.testing.assert_allclose(crafted, SUITE[name](honest, x, y), atol=1e-6)
        survived = inference.logits(honest, crafted).argmax(axis=1) == y
        # Images that an attack turns right are errors here.
        assert rows[name]["accuracy"] == survived.mean() - (survived & ~right).mean()
        # The first images are the same in any company.
        few = craft(honest, SUITE[name], x[:3], y[:3], batch_size=20)
        np.testing.assert_allclose(few, crafted[:3], atol=1e-6)


def test_the_summary_has_the_numbers_and_nothing_per_image(whole):
    found = summary(whole)
    assert len(json.dumps(found)) < 3000 and "broken_by" not in found
    assert found["worst_case"] == whole["worst_case"] and found["images"] == 40
    assert list(found["attacks"]) == list(SUITE)
    for row in whole["attacks"]:
        assert found["attacks"][row["attack"]].items() <= row.items()


def test_early_exit_ends_at_the_same_worst_case(honest, held_out, whole):
    early = evaluate(honest, *held_out, SUITE, batch_size=20, early_exit=True, verbose=0)
    assert early["worst_case"] == whole["worst_case"]
    assert early["broken_by"] == whole["broken_by"]
    attacked = [row["attacked"] for row in early["attacks"]]
    assert attacked[-1] < attacked[0] == early["clean"]["correct"]
    for row, other in zip(early["attacks"], whole["attacks"]):
        # An accuracy of its own belongs to an attack that saw all images.
        assert row["accuracy"] in (None, other["accuracy"])
        assert (row["accuracy"] is None) == (row["attacked"] < early["clean"]["correct"])


class Stop(Exception):
    pass


def test_a_stopped_run_goes_on_where_it_was(honest, held_out, whole, tmp_path):
    path, calls = tmp_path / "result.json", []

    class Stopping(PGD):
        def __call__(self, *arguments, **options):
            calls.append(len(arguments[1]))
            if len(calls) == 2:
                raise Stop
            return super().__call__(*arguments, **options)

    Stopping.__name__ = "PGD"
    suite = {**SUITE, "pgd": Stopping(epsilon=EPSILON, step_size=0.02, steps=6)}
    options = dict(batch_size=20, early_exit=False, file=path, verbose=0)
    with pytest.raises(Stop):
        evaluate(honest, *held_out, suite, **options)
    assert not json.loads(path.read_text())["finished"]
    resumed = evaluate(honest, *held_out, suite, **options)
    # The batch that was done is not done again.
    expected = -(-whole["clean"]["correct"] // 20)
    assert len(calls) == expected + 1
    assert without_times(resumed) == without_times(whole)
    assert without_times(records.read(path, {}, "")) == without_times(whole)
    count = len(calls)
    assert evaluate(honest, *held_out, suite, **options) == resumed and len(calls) == count
    with pytest.raises(ValueError, match="holds an evaluation with data=.*choose another file"):
        evaluate(honest, 1 - held_out[0], held_out[1], suite, **options)
    path.write_text("[]")
    with pytest.raises(ValueError, match="is not an evaluation; choose another file"):
        evaluate(honest, *held_out, suite, **options)


def without_times(record):
    rows = [{**row, "seconds": None} for row in record["attacks"]]
    return json.loads(json.dumps({**record, "attacks": rows}))


def test_the_protocol_names_what_decides_the_number(whole):
    protocol = whole["protocol"]
    assert protocol["neurons"] == [
        {
            "neuron": "LIF",
            "timesteps": 2,
            "tau": 1.1,
            "threshold": 1.0,
            "reset": "soft",
            "detach_reset": False,
            "detach_membrane": False,
            "surrogate": "triangle",
            "width": 2.0,
            "layers": 1,
        }
    ]
    assert protocol["encoders"] == ["DirectEncoding"] and protocol["images"] == 40
    assert protocol["attacks"]["pgd"]["step_size"] == 0.02
    assert protocol["substitutes"] == [] and "norm" not in protocol
    assert all(row["seconds"] > 0 for row in whole["attacks"])
    assert protocol["backend"] == keras.backend.backend()


def test_perturbed_frames_are_another_threat_and_said_to_be(honest, held_out):
    framewise = with_frames(honest)
    x, y = held_out
    options = dict(suite="paper", epsilon=EPSILON, batch_size=40, verbose=0)
    image = evaluate(honest, x, y, **options)
    frames = evaluate(framewise, framewise.frames(x), y, **options)
    assert image["protocol"]["perturbation"] == "of the image"
    assert frames["protocol"]["perturbation"] == "of every frame by itself"
    assert frames["clean"] == image["clean"]
    assert frames["worst_case"]["accuracy"] <= image["worst_case"]["accuracy"] < 1


def test_no_member_of_the_reliable_suite_is_below_the_worst_case(honest, held_out):
    suite = suites.build("reliable", epsilon=0.04, classes=3, substitutes=[honest])
    for attack in suite.values():
        # As many attacks, shorter.
        attack.threat = dataclasses.replace(attack.threat, steps=2)
        attack.queries = attack.draws = 3
    suite["transfer"].attack.threat = suite["transfer"].threat
    found = evaluate(honest, *held_out, suite, early_exit=False, batch_size=40, verbose=0)
    counting = [row for row in found["attacks"] if row["counts"]]
    assert len(counting) == len(suite) - 1 and found["finished"]
    worst = found["worst_case"]["accuracy"]
    assert worst <= min(row["accuracy"] for row in counting) < found["clean"]["accuracy"]
    assert sum(row["broken"] > 0 for row in counting) > len(counting) / 2


def test_random_models_are_asked_for_several_gradients(held_out):
    body = [
        keras.Input((6, 6, 1)),
        keras.layers.Flatten(),
        keras_dep.RateEncoding(2, seed=1),
        keras.layers.Dense(3),
        keras_dep.UnfoldTime(2),
    ]
    found = evaluate(keras.Sequential(body), *held_out, "paper", batch_size=40, verbose=0)
    assert {config["samples"] for config in found["protocol"]["attacks"].values()} == {10}


def test_any_function_of_model_images_and_labels_is_an_attack(honest, held_out):
    def darken(model, x, y):
        return x / 2

    found = evaluate(honest, *held_out, {"dark": darken}, verbose=0)
    assert found["protocol"]["attacks"] == {"dark": {"attack": "darken"}}
    images, labels = held_out
    both = [inference.logits(honest, x).argmax(axis=1) == labels for x in (images, images / 2)]
    assert found["worst_case"]["correct"] == (both[0] & both[1]).sum()


def test_only_substitutes_that_are_used_decide(honest, held_out):
    options = dict(batch_size=40, verbose=0, substitutes=[honest])
    unused = evaluate(honest, *held_out, "paper", **options)
    used = evaluate(honest, *held_out, {"t": Transfer(SUITE["fgsm"], honest)}, **options)
    assert unused["protocol"]["substitutes"] == []
    assert used["protocol"]["substitutes"] == [used["protocol"]["weights"]]


def test_the_state_of_the_gradient_is_reported(honest, held_out, whole):
    assert whole["gradients"] == gradient_health(honest, *held_out, batch_size=20)
    assert whole["gradients"]["non_finite_images"] == 0


def test_the_model_is_as_before_and_bars_are_drawn(honest, held_out, capsys):
    before = everything(honest)
    evaluate(honest, *held_out, {"fgsm": FGSM(epsilon=EPSILON)}, verbose=1)
    assert everything(honest) == before
    assert "fgsm" in capsys.readouterr().out


def test_suites():
    assert list(suites.build("paper")) == ["fgsm", "pgd-7"]
    config = suites.build("paper")["pgd-7"].get_config()
    assert (config["epsilon"], config["steps"], config["step_size"]) == (8 / 255, 7, 0.01)
    substitute = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    reliable = suites.build("reliable", substitutes=[substitute], samples=7)
    for name in ("pgd-50", "apgd-ce-100", "apgd-dlr-100", "sapgd-100", "square-5000", "transfer"):
        assert name in reliable
    assert reliable["apgd-arctan-100"].surrogate == "arctan"
    assert {attack.samples for name, attack in reliable.items() if "pgd" in name} == {7}
    plain = suites.build("reliable", classes=2, spiking=False)
    assert not {"apgd-dlr-100", "apgd-arctan-100", "transfer"} & set(plain)
    with pytest.raises(
        ValueError, match="suite must be one of quick, paper, reliable, timing; received"
    ):
        suites.build("strong")


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(labels=np.zeros(3, "int32")), "one image and one label each; received 40 images"),
        (dict(labels=np.full(40, 0.5)), "labels must be whole numbers .* with the label 0.5"),
        (dict(suite={"to": BIM(targeted=True)}), "'to' is targeted"),
        (dict(suite=SUITE, estimator="rga"), "estimator is for a named suite; received a dict"),
        (dict(suite="strong"), "suite must be one of quick, paper, reliable"),
    ],
)
def test_bad_arguments(honest, held_out, change, message):
    arguments = {"images": held_out[0], "labels": held_out[1], **change}
    with pytest.raises(ValueError, match=message):
        evaluate(honest, **arguments, verbose=0)
