"""Loss terms as parts of a step: left out at strength 0, logged, saved, and taken twice by SAM."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import ops

from keras_dep import FGSM
from keras_dep import LIF
from keras_dep import DirectEncoding
from keras_dep import MeanLogitAccuracy
from keras_dep import MeanLogitCrossentropy
from keras_dep import UnfoldTime
from keras_dep.training import DefendedTraining
from keras_dep.training import LossTerm
from keras_dep.training import MembranePerturbation
from keras_dep.training import SharpnessAware
from keras_dep.training import SparseInputGradient
from keras_dep.training import TemporalInputGradient
from tests.support.numpy_reference import injected
from tests.training.test_adversarial import BACKEND
from tests.training.test_adversarial import CLASSES
from tests.training.test_adversarial import SHAPE
from tests.training.test_adversarial import assert_close
from tests.training.test_adversarial import assert_same_bits
from tests.training.test_adversarial import data
from tests.training.test_adversarial import inputs

STEPS = 2
TERMS = (
    SparseInputGradient(0.1, step_size=0.2),
    TemporalInputGradient(2.0),
    MembranePerturbation(0.5, 0.5, FGSM(epsilon=0.05)),
)
LEFT_OUT = (
    SparseInputGradient(0.0),
    TemporalInputGradient(0.0),
    MembranePerturbation(rho=0.0, kappa=1.0),
)


def network(dropout=0.2):
    body = keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Flatten(),
            DirectEncoding(STEPS),
            keras.layers.Dense(6),
            keras.layers.BatchNormalization(),
            LIF(STEPS, surrogate="arctan"),
            keras.layers.Dropout(dropout, seed=1),
            keras.layers.Dense(CLASSES),
            UnfoldTime(STEPS),
        ]
    )
    # Where nothing spikes, biases of zero would leave logits that are equal.
    return injected(body, seed=0)


def compiled(model, eager=BACKEND != "jax", **options):
    model.compile(
        keras.optimizers.SGD(0.2, momentum=0.9),
        MeanLogitCrossentropy(),
        metrics=[MeanLogitAccuracy()],
        run_eagerly=eager,
        jit_compile=BACKEND == "jax" and not eager,
        **options,
    )
    return model


@pytest.mark.parametrize("eager", [True, False], ids=["eager", "compiled"])
def test_terms_of_strength_0_train_plainly_bit_for_bit(eager):
    eager = eager and BACKEND != "jax"
    model = compiled(DefendedTraining(network(), loss_terms=LEFT_OUT), eager)
    reference, (x, y) = compiled(network(), eager), data()
    for _ in range(2):
        logs = model.train_on_batch(x, y, return_dict=True)
        assert logs == reference.train_on_batch(x, y, return_dict=True)
    assert_same_bits(model, reference)


def test_all_parts_train_together_in_fit_save_load_and_go_on_exactly(tmp_path):
    attack, sharpness = FGSM(epsilon=0.1), SharpnessAware(0.05)
    # Keras saves no random states.
    model = DefendedTraining(network(dropout=0), attack, TERMS, sharpness, name="defended")
    compiled(model, eager=False)
    x, y = data()
    history = model.fit(inputs(x, 1), y, batch_size=len(x), epochs=2, shuffle=False, verbose=0)
    names = {"loss", "accuracy", *(term.name for term in TERMS)}
    assert set(history.history) == names and np.isfinite(list(history.history.values())).all()
    assert all(history.history[term.name][0] != 0 for term in TERMS)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    saved, kept = loaded.get_config(), model.get_config()
    for part in ("attack", "loss_terms", "sharpness", "name"):
        assert saved[part] == kept[part]
    assert_same_bits(loaded, model)
    for each in (model, loaded):
        each.train_on_batch(inputs(x, 1), y)
    assert_same_bits(loaded, model)
    plain = compiled(model.network)
    assert model.evaluate(x, y, verbose=0, return_dict=True)["loss"] == pytest.approx(
        plain.evaluate(x, y, verbose=0, return_dict=True)["loss"], abs=1e-6
    )


def test_a_short_sharpness_step_takes_the_terms_once():
    x, y = data()
    parts = {"attack": FGSM(epsilon=0.1), "loss_terms": TERMS}
    model = compiled(DefendedTraining(network(), **parts, sharpness=SharpnessAware(1e-9)))
    reference = compiled(DefendedTraining(network(), **parts))
    found, expected = (
        each.train_on_batch(inputs(x, 1), y, return_dict=True) for each in (model, reference)
    )
    assert found == pytest.approx(expected, abs=1e-5)
    assert_close(model, reference)


def test_mixed_precision_keeps_terms_finite():
    x, y = data()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = DefendedTraining(network(), loss_terms=TERMS, sharpness=SharpnessAware())
        compiled(model, eager=False)
        before = ops.convert_to_numpy(model.trainable_variables[0])
        for _ in range(6):
            logs = model.train_on_batch(x, y, return_dict=True)
        assert np.isfinite(list(logs.values())).all()
        after = ops.convert_to_numpy(model.trainable_variables[0])
        assert np.isfinite(after).all() and np.abs(after - before).max() > 1e-4
    finally:
        keras.config.set_dtype_policy("float32")


def test_a_term_of_ones_own():
    @dataclasses.dataclass(frozen=True)
    class Shrink(LossTerm):
        strength: float = 0.5

        name = "shrink"

        def prepare(self, network, images, labels, gradient):
            return {"scale": ops.sum(images) * 0 + 2.0}

        def __call__(self, network, images, labels, outputs, prepared):
            return self.strength * prepared["scale"] * ops.mean(ops.square(outputs))

    model = compiled(DefendedTraining(network(), loss_terms=[Shrink()]))
    logs = model.train_on_batch(*data(), return_dict=True)
    reference = compiled(network()).train_on_batch(*data(), return_dict=True)
    assert logs["loss"] == pytest.approx(reference["loss"] + logs["shrink"], rel=1e-5)
    with pytest.raises(ValueError, match="one name each; received 'shrink' 2 times"):
        DefendedTraining(network(), loss_terms=[Shrink(), Shrink(1.0)])
