"""Settings: limits, choices and what must fit together."""

import dataclasses

import pytest

from keras_dep.experiments import settings
from keras_dep.experiments.settings import Settings


def test_every_field_is_documented_and_its_default_is_valid():
    Settings()
    for field in dataclasses.fields(Settings):
        assert field.metadata["group"] in settings.GROUPS
        assert field.metadata["help"].endswith(".")
        assert settings.kind(field) in (str, int, float, bool)


@pytest.mark.parametrize("field", dataclasses.fields(Settings), ids=lambda field: field.name)
def test_a_value_beyond_its_limits_is_one_line(field):
    if field.metadata["choices"]:
        wrong = ["nonsense"]
    elif field.metadata["limits"]:
        low, high = field.metadata["limits"]
        wrong = [low - 1, float("nan")] + ([high + 1] if high != settings.ANY else [])
    else:
        wrong = []
    for value in wrong:
        with pytest.raises(ValueError, match=f"^{field.name} must be .*; received ") as caught:
            Settings(**{field.name: value})
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("field", dataclasses.fields(Settings), ids=lambda field: field.name)
def test_a_value_of_another_type_is_one_line(field):
    plain = settings.kind(field)
    wrong = {str: [3], int: [2.5, "3", True], float: ["3", True], bool: [1, "yes"]}[plain]
    for value in [*wrong, [], *([] if field.type != plain else [None])]:
        with pytest.raises(ValueError, match=f"^{field.name} must be .*; received ") as caught:
            Settings(**{field.name: value})
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "values, words",
    [
        ({"epochs": 2, "poison_epoch": 2}, "poison_epoch must be below epochs=2.*received 2"),
        ({"attack": "none"}, "attack='none' leaves nothing to perturb"),
        ({"attack": "none", "base": "adversarial", "poison_count": 0}, "base='adversarial'"),
        (
            {"poison_protocol": "released", "base": "adversarial"},
            "poison_protocol must be pixel unless base='clean'.*received 'released'",
        ),
        (
            {"normalization_control": "frozen", "poison_mode": "replace"},
            "normalization_control must not be frozen",
        ),
        (
            {"encoder": "events"},
            "encoder must be direct, rate or latency for dataset='digits', .*; received 'events'",
        ),
        (
            {"dataset": "dvs_cifar10"},
            "encoder must be events for dataset='dvs_cifar10', .*; received 'direct'",
        ),
        (
            {"dataset": "dvs128_gesture", "encoder": "events", "augment": "paper"},
            "augment must be none for dvs128_gesture.*; received 'paper'",
        ),
    ],
    ids=["poison", "attack", "base", "protocol", "control", "frames", "recordings", "mirror"],
)
def test_settings_that_contradict_each_other_are_one_line(values, words):
    with pytest.raises(ValueError, match=words) as caught:
        Settings(**values)
    assert "\n" not in str(caught.value)


def test_a_run_without_poison_needs_no_poisoned_epoch():
    assert Settings(poison_count=0, epochs=1, poison_epoch=5).poison.gaps(0, 10) == ()
    assert Settings(poison_count=0, attack="none").base == "clean"
