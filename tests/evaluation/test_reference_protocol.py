"""The released protocol's table against single measurements."""

import keras
import numpy as np
import pytest

from keras_dep.attacks import FGSM
from keras_dep.attacks import ReferenceCodeAttack
from keras_dep.evaluation import released_protocol
from keras_dep.evaluation import report
from keras_dep.evaluation.reference_protocol import CAUTION
from keras_dep.models import inference

EPSILON, STEPS = 0.1, 3


@pytest.fixture(scope="module")
def normalised(honest):
    """The honest network with its rescaling said as a normalisation."""
    body = [keras.layers.Normalization(mean=0.5, variance=0.25), *honest.layers[1:]]
    return keras.Sequential([keras.Input(honest.input_shape[1:]), *body])


@pytest.mark.filterwarnings("ignore:ReferenceCodeAttack perturbs")
def test_rows_are_single_measurements(honest, normalised, held_out):
    x, y = held_out
    options = dict(epsilon=EPSILON, step_size=0.05, steps=STEPS, batch_size=20)
    with pytest.warns(UserWarning, match=CAUTION) as warned:
        rows = released_protocol(normalised, x, y, **options)
    assert [str(each.message) for each in warned].count(CAUTION) == 1
    by_name = {(row["protocol"], row["attack"]): row for row in rows}
    assert len(by_name) == 8
    clean = float((inference.logits(honest, x).argmax(axis=1) == y).mean())
    nothing = by_name["as described, epsilon 0", "pgd-3"]
    assert nothing["accuracy"] == clean and nothing["largest_change"] == 0
    fgsm = FGSM(epsilon=EPSILON)(normalised, x, y)
    found = by_name["as described", "fgsm"]
    assert found["accuracy"] == (inference.logits(normalised, fgsm).argmax(axis=1) == y).mean()
    assert found["largest_change"] == pytest.approx(EPSILON, abs=1e-6)
    clamped = 0.5 + 0.5 * ((x - 0.5) / 0.5).clip(0, 1)
    found = by_name["clamp alone", "none"]
    assert found["accuracy"] == (inference.logits(honest, clamped).argmax(axis=1) == y).mean()
    assert found["mean_change"] == pytest.approx(np.abs(clamped - x).mean(), abs=1e-6)
    # One step of FGSM meets fresh membranes; the answers, and later steps of PGD, do not.
    kept, anew = (by_name[kind, "pgd-3"] for kind in ("released", "released, membranes reset"))
    assert kept["mean_change"] != anew["mean_change"]
    fresh, stale = by_name["released, membranes reset", "fgsm"], by_name["released", "fgsm"]
    assert fresh["mean_change"] == stale["mean_change"] > found["mean_change"]
    answers = ReferenceCodeAttack(FGSM(epsilon=EPSILON)).answers(normalised, x, y)
    scores = keras.ops.convert_to_numpy(answers).mean(axis=1)
    assert stale["accuracy"] == (scores.argmax(axis=1) == y).mean()
    text = report.released_markdown(rows)
    assert text.count("|\n") == 10 and f"{100 * stale['accuracy']:.2f} %" in text
