"""Attacks out of their records, as evaluations and saved models keep them."""

import json
import warnings

import keras
import numpy as np
import pytest

from keras_dep import attacks
from keras_dep.attacks import record
from tests.support.attack_table import BUILDERS
from tests.support.attack_table import MODEL
from tests.support.attack_table import SUBSTITUTE
from tests.support.attack_table import images

OTHERS = {
    "gaussian": lambda e: attacks.GaussianNoise(std=e, seed=[3, 4]),
    "loss": lambda e: attacks.FGSM(epsilon=e, loss="margin", targeted=True),
    "length": lambda e: attacks.APGD(epsilon=e, steps=3, norm="L2", loss="dlr", seed=2),
    "decay": lambda e: attacks.MIFGSM(epsilon=e, steps=2, decay=0.5, samples=2),
}


def kept(config):
    return json.loads(json.dumps(config))


@pytest.mark.parametrize("name", [*BUILDERS, *OTHERS])
def test_a_record_gives_the_attack_again(name):
    (x, y), attack = images(), {**BUILDERS, **OTHERS}[name](0.2)
    models = {"substitutes": [SUBSTITUTE]} if name == "transfer" else {}
    config = kept(attack.get_config())
    again = attacks.from_config(config, **models)
    assert type(again) is type(attack) and kept(again.get_config()) == config
    assert again(MODEL, x, y).tobytes() == attack(MODEL, x, y).tobytes()
    assert type(attack).from_config(config, **models).get_config() == attack.get_config()
    if not models:
        record.check_complete(attack)
        saved = kept(keras.saving.serialize_keras_object(attack))
        loaded = keras.saving.deserialize_keras_object(saved)
        assert loaded.get_config() == attack.get_config()


RULES = [
    {"estimator": "bptr"},
    {"estimator": attacks.ASSG(vanishing=0.9, relaxation=0.5)},
    {"estimator": attacks.RGA(subthreshold=0.1)},
    {"estimator": attacks.PDSG(per_image=False)},
    {"surrogate": "arctan", "width": 0.3},
]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_rules_for_derivatives_come_back(rule):
    attack = attacks.PGD(**rule)
    again = attacks.from_config(kept(attack.get_config()))
    assert again.estimator == attack.estimator and again._rule == attack._rule


def test_the_released_attack_comes_back():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        inner = attacks.PGD(epsilon=0.3, norm="L2", steps=2, loss="margin")
        attack = attacks.ReferenceCodeAttack(inner, stale_state=False)
        again = attacks.from_config(kept(attack.get_config()))
    assert again.attack.get_config() == inner.get_config() and again.stale_state is False


def given_a_substitute(config):
    return attacks.from_config(config, substitutes=[SUBSTITUTE])


def test_what_describes_no_attack_is_refused():
    config = attacks.PGD().get_config()
    cases = [
        ({"attack": "Nothing"}, attacks.from_config, "attack must be the name.*received 'Nothing'"),
        ({**config, "sharpness": 2}, attacks.from_config, "describe a PGD.*received sharpness=2"),
        (config, attacks.FGSM.from_config, "must describe a FGSM"),
        ({**config, "steps": 0}, attacks.from_config, "steps must be at least 1"),
        ({**config, "estimator": {"rule": "x"}}, attacks.from_config, "estimator must be one of"),
        (
            BUILDERS["transfer"](0.1).get_config(),
            attacks.from_config,
            "substitutes must be",
        ),
        (config, given_a_substitute, "substitutes must be none for a PGD; received 1"),
    ]
    for given, build, message in cases:
        with pytest.raises(ValueError, match=message) as raised:
            build(given)
        assert "\n" not in str(raised.value)


@keras.saving.register_keras_serializable("tests")
class Sharpened(attacks.PGD):
    def __init__(self, sharpness=1.0, **options):
        super().__init__(**options)
        self.sharpness = sharpness

    def get_config(self):
        return {**super().get_config(), "sharpness": self.sharpness}


def test_a_class_of_ones_own_comes_back():
    attack = Sharpened(sharpness=3.0, steps=2, loss="tet")
    again = attacks.from_config(kept(attack.get_config()))
    assert type(again) is Sharpened and again.get_config() == attack.get_config()
    record.check_complete(attack)
    attack.sharpness, attack.unknown = 4.0, 1
    with pytest.raises(ValueError, match="Sharpened.get_config must give all.*loses unknown"):
        record.check_complete(attack)


def test_bounds_come_back():
    threat = attacks.PGD().threat
    attack = attacks.GradientAttack(type(threat)(epsilon=0.1, bounds=(-1.0, 1.0), steps=2))
    again = attacks.GradientAttack.from_config(kept(attack.get_config()))
    assert again.threat == attack.threat and np.isfinite(again.threat.epsilon)
