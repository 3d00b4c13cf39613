"""What the reliable suite is made of."""

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


def test_without_spikes_or_with_few_classes_some_attacks_have_no_meaning():
    few = suites.build("reliable", classes=3, spiking=False)
    assert "apgdt-100" not in few and "apgd-dlr-100" in few
    assert not any(getattr(attack, "estimator", None) for attack in few.values())
