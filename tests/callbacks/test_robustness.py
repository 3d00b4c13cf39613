"""Robust accuracy during training: what it logs, and that training does not feel it."""

import keras
import numpy as np
import pytest

from keras_dep import PGD
from keras_dep.callbacks import RobustnessLog
from keras_dep.models import inference
from keras_dep.summaries import EventWriter
from tests.callbacks.test_hessian_callback import STEPS
from tests.callbacks.test_hessian_callback import bits
from tests.callbacks.test_hessian_callback import build
from tests.callbacks.test_hessian_callback import data
from tests.callbacks.test_hessian_callback import fit
from tests.support.event_files import read_scalars

ATTACK = PGD(epsilon=0.1, step_size=0.05, steps=2)


def test_logs_the_accuracy_on_attacked_images_and_disturbs_nothing(tmp_path):
    x, y = data()
    with EventWriter(tmp_path) as writer:
        log = RobustnessLog(x[:20], y[:20], ATTACK, every=2, writer=writer, batch_size=10)
        model, plain = build(eager=False), build(eager=False)
        history = fit(model, log, epochs=4).history
    expected_history = fit(plain, epochs=4).history
    assert bits(model) == bits(plain)
    assert history["loss"] == expected_history["loss"]
    crafted = ATTACK(model, x[:20], y[:20])
    expected = inference.accuracy_and_loss(model, crafted, y[:20])[0]
    assert [record["epoch"] for record in log.history] == [1, 3]
    assert log.history[-1]["accuracy"] == history["robust_accuracy"][-1] == expected
    written = read_scalars(tmp_path)["robustness/accuracy"]
    assert [step for step, _ in written] == [2 * STEPS, 4 * STEPS]
    np.testing.assert_allclose(written[-1][1], expected, rtol=1e-6)
    fresh = RobustnessLog(x, y)
    fresh.set_state(log.get_state())
    assert fresh.history == log.history


def test_a_checkpoint_can_follow_it(tmp_path):
    x, y = data()
    path = tmp_path / "best.keras"
    keep = keras.callbacks.ModelCheckpoint(
        path, monitor="robust_accuracy", mode="max", save_best_only=True
    )
    log = RobustnessLog(x, y, ATTACK)
    fit(build(eager=False), log, keep, epochs=2)
    best = keras.saving.load_model(path)
    found = inference.accuracy_and_loss(best, ATTACK(best, x, y), y)[0]
    assert found == max(record["accuracy"] for record in log.history)


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(every=0), "every must be at least 1; received 0"),
        (dict(labels=np.zeros(2)), "one image and one label each; received 40 images and 2"),
    ],
)
def test_bad_arguments(options, message):
    x, y = data()
    with pytest.raises(ValueError, match=message):
        RobustnessLog(**{"images": x, "labels": y, **options})
