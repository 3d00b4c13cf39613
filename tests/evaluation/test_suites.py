"""What the reliable suite is made of."""

import pytest

from keras_dep.evaluation import suites


def test_the_reliable_suite_derives_spikes_by_every_rule():
    built = suites.build("reliable", epsilon=0.05, seed=4, classes=10)
    rules = {repr(a.estimator) for a in built.values() if getattr(a, "estimator", None)}
    assert {rule.partition("(")[0] for rule in rules} == {
        "ASSG",
        "BPTR",
        "Conversion",
        "HART",
        "PDSG",
        "RGA",
    }
    degrees = {a.estimator.vanishing for name, a in built.items() if "assg" in name}
    assert degrees == set(suites.VANISHING) and 0.85 in degrees
    assert built["apgdt-100"].classes == 9
    assert {a.threat.epsilon for name, a in built.items() if name != "gaussian"} == {0.05}
    assert {a.seed for a in built.values()} == {4}
    # Each name is told apart from the others by what decides it.
    assert len({str(a.get_config()) for a in built.values()}) == len(built)


def test_the_reliable_suite_is_as_long_as_recommended():
    built = suites.build("reliable", samples=10, substitutes=[object(), object()])
    assert built["gaussian"].std == 8 / 255 and built["square-5000"].queries == 5000
    assert (built["pgd-7"].threat.steps, built["pgd-7"].threat.step_size) == (7, 0.01)
    assert (built["pgd-50"].threat.steps, built["pgd-50"].threat.restarts) == (50, 5)
    assert {built[f"apgd-{loss}-100"].loss for loss in ("ce", "dlr", "tet")} == {"ce", "dlr", "tet"}
    long = [attack.threat.steps for name, attack in built.items() if name.endswith("-100")]
    assert len(long) >= 4 + 5 + len(suites.VANISHING) and set(long) == {100}
    assert len(built["transfer"].substitutes) == 2
    assert {a.samples for a in built.values() if hasattr(a, "samples")} == {10}


def test_attacks_that_break_most_come_before_those_that_cost_most():
    built = suites.build("reliable", substitutes=[object()])
    names = list(built)
    through = [name for name, a in built.items() if getattr(a, "surrogate", None) or "rga" in name]
    strong = ("pgd-7", "apgd-ce-100", "apgd-dlr-100", "sapgd-assg-0.85-100", "apgdt-100")
    first = max(map(names.index, strong))
    assert first < names.index("pgd-50") < min(map(names.index, through))
    assert names[-1] == "square-5000"


def test_without_spikes_or_with_few_classes_some_attacks_have_no_meaning():
    few = suites.build("reliable", classes=3, spiking=False)
    assert "apgdt-100" not in few and "apgd-dlr-100" in few
    assert not any(getattr(attack, "estimator", None) for attack in few.values())


def test_suites_of_the_euclidean_ball():
    assert suites.radius("L2") == 0.5 and suites.radius("Linf") == 8 / 255
    for suite in suites.SUITES:
        built = suites.build(suite, norm="L2", epsilon=2.0)
        assert {(a.threat.norm, a.threat.epsilon) for a in built.values()} == {("L2", 2.0)}
    assert {"apgd-ce-100", "apgdt-100", "apgd-assg-0.85-100"} <= set(built)
    # As many steps across the ball as in the usual one.
    steps = suites.build("paper", norm="L2")["pgd-7"].threat.step_size
    assert steps / 0.5 == pytest.approx(0.01 / (8 / 255))


def test_the_suite_of_times_has_no_ball():
    built = suites.build("timing", seed=3, samples=2, estimator="rga")
    assert {(a.budget, a.amount, a.samples) for a in built.values()} == {
        ("jitter", number, 2) for number in suites.JITTERS
    }
    assert {repr(a.estimator).partition("(")[0] for a in built.values()} == {"RGA"}


@pytest.mark.parametrize("suite, names", [("quick", ["fgsm", "apgd-ce-20"]), ("paper", None)])
def test_the_derivative_is_that_of_every_white_box(suite, names):
    built = suites.build(suite, estimator="assg")
    white = {name: built[name] for name in names or built}
    assert {repr(a.estimator).partition("(")[0] for a in white.values()} == {"ASSG"}
    built = suites.build(suite, surrogate="arctan", width=0.3)
    white = {name: built[name] for name in names or built}
    assert {(a.surrogate, a.width) for a in white.values()} == {("arctan", 0.3)}


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(suite="reliable", estimator="rga"), "tries every derivative of spikes; received"),
        (dict(suite="quick", estimator="rga", spiking=False), "has one derivative; received est"),
        (dict(suite="quick", estimator="rga", surrogate="arctan"), "must be given, not both"),
        (dict(suite="paper", norm="L1"), "norm must be one of Linf, L2; received 'L1'"),
        (dict(suite="paper", epsilon=2.0), r"epsilon must lie in \[0, 1\]"),
    ],
)
def test_combinations_that_mean_nothing(options, message):
    with pytest.raises(ValueError, match=message):
        suites.build(**options)
