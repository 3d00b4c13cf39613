"""Methods by name, with options, and what combines."""

import keras
import pytest

from keras_dep import defences
from keras_dep.defences import Defence
from keras_dep.defences import TrainingPlan
from keras_dep.defences import registry


@pytest.fixture
def rivals(monkeypatch):
    monkeypatch.setattr(registry, "_FACTORIES", dict(registry._FACTORIES))

    @registry.register
    def gate(rate=0.5, sizes=(1, 2)):
        """Opens and shuts."""
        return Defence(after_spikes=(rate, sizes), settings={"weight_decay": 0.0})

    @registry.register
    def door():
        """Stands in the same place."""
        return Defence(after_spikes=print, callbacks=lambda network, plan: [network])

    @registry.register
    def term():
        """Adds to the loss."""
        return Defence(loss_terms=[3], callbacks=lambda network, plan: [plan])

    @registry.register
    def decay():
        """Sets what another sets."""
        return Defence(settings={"weight_decay": 1.0})


def wrapper(mark):
    return lambda inner, plan: f"{mark}({inner})"


def test_options_are_part_of_the_name_where_they_are_not_the_default(rivals):
    assert defences.get("gate").name == defences.get("gate(rate=0.5)").name == "gate"
    found = defences.get(" gate( sizes=(3, 4),rate=0.25 ) ")
    assert found.name == "gate(rate=0.25, sizes=(3, 4))"
    assert found.after_spikes == (0.25, (3, 4))
    names = [each.name for each in defences.parse("sgd,dep+gate(sizes=(3,4)),sgd+dep, door")]
    assert names == ["sgd", "dep+gate(sizes=(3, 4))", "dep", "door"]
    assert "gate(rate=0.5, sizes=(1, 2)): Opens and shuts." in defences.describe().splitlines()


def test_parts_of_both_are_there(rivals):
    found = defences.get("door+term+gate".replace("+gate", "")) + Defence(name="x", encoder=len)
    assert (found.name, found.after_spikes, found.encoder) == ("door+term+x", print, len)
    assert found.loss_terms == (3,)
    network, plan = object(), TrainingPlan()
    assert found.callbacks(network, plan) == [network, plan]


def test_the_gradient_passes_through_the_first_wrapper_first():
    found = Defence(name="a", optimizer=wrapper("a")) + Defence(name="b", optimizer=wrapper("b"))
    assert found.wrapped("sgd", TrainingPlan()) == "a(b(sgd))"
    optimizer = defences.get("dep").wrapped(
        keras.optimizers.SGD(0.5), TrainingPlan(rank_one="remove")
    )
    assert optimizer.rank_one == "remove" and float(optimizer.learning_rate) == 0.5


@pytest.mark.parametrize(
    "expression, words",
    [
        ("adam", "methods must be some of .*dep.*; received 'adam'"),
        ("", "methods must be names; received ''"),
        ("dep(1)", r"methods must be names; received 'dep\(1\)'; write"),
        ("dep-sgd", "methods must be names; received 'dep - sgd'"),
        ("dep(a=1)", "method dep has no options; received 'a'"),
        ("gate(a=1)", "method gate has the options rate, sizes; received 'a'"),
        ("gate(rate=x)", "options must be numbers, strings, tuples or None; received 'x'"),
        (
            "dep+dep",
            "methods dep and dep do not combine: both change the leading component of the gradient",
        ),
        ("gate+door", "gate and door do not combine: both act on the spikes; choose one"),
        ("term+term", "both add int to the loss"),
        ("gate+decay", "both set weight_decay"),
        ("hire+free_at", "both update the weights several times per batch; choose one"),
        ("sam+hire", "sam and hire do not combine: both take several passes per batch"),
        (
            "hire+sr",
            "do not combine: sr prepares its loss terms once per batch, and hire trains on it",
        ),
    ],
)
def test_mistakes_are_one_line(rivals, expression, words):
    with pytest.raises(ValueError, match=words) as caught:
        defences.get(expression)
    assert "\n" not in str(caught.value)


def test_a_method_is_named_once(rivals):
    with pytest.raises(ValueError, match="methods must differ; received 'dep' twice"):
        defences.parse("dep,sgd+dep")
    with pytest.raises(ValueError, match="method 'gate' is registered already"):
        registry.register(registry._FACTORIES["gate"])
