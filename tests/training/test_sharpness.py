"""Sharpness-aware steps against two passes written out in NumPy, and against plain steps."""

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops

from keras_dep import DEP
from keras_dep import FGSM
from keras_dep import LIF
from keras_dep import CoupledWeightDecay
from keras_dep import DirectEncoding
from keras_dep.training import DefendedTraining
from keras_dep.training import SharpnessAware
from tests.training.test_adversarial import BACKEND
from tests.training.test_adversarial import assert_close
from tests.training.test_adversarial import assert_same_bits
from tests.training.test_adversarial import build_network
from tests.training.test_adversarial import compile_model
from tests.training.test_adversarial import data
from tests.training.test_adversarial import inputs
from tests.training.test_adversarial import weights

RATE, MOMENTUM, DECAY, RHO = 0.5, 0.9, 0.01, 0.3


def smooth_network():
    keras.utils.set_random_seed(1)
    hidden = layers.Dense(4, activation="tanh", kernel_regularizer=keras.regularizers.L2(0.02))
    return keras.Sequential([keras.Input((2, 2, 2)), layers.Flatten(), hidden, layers.Dense(3)])


def loss_and_gradients(x, y, parameters):
    """Cross-entropy of the network above and its gradients, in float64."""
    kernel, bias, top, shift = parameters
    hidden = np.tanh(x @ kernel + bias)
    logits = hidden @ top + shift
    likely = np.exp(logits - logits.max(axis=1, keepdims=True))
    likely /= likely.sum(axis=1, keepdims=True)
    loss = -np.log(likely[np.arange(len(y)), y]).mean() + 0.02 * (kernel**2).sum()
    slope = (likely - np.eye(3)[y]) / len(y)
    back = (slope @ top.T) * (1 - hidden**2)
    gradients = [x.T @ back + 0.04 * kernel, back.sum(axis=0), hidden.T @ slope, slope.sum(axis=0)]
    return loss, gradients


@pytest.mark.parametrize("eager", [True, False], ids=["eager", "compiled"])
def test_steps_are_those_of_two_passes_written_out(eager):
    x, y = data()
    model = DefendedTraining(smooth_network(), sharpness=SharpnessAware(RHO))
    optimizer = CoupledWeightDecay(keras.optimizers.SGD(RATE, momentum=MOMENTUM), DECAY)
    model.compile(
        optimizer,
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        run_eagerly=eager,
        jit_compile=BACKEND == "jax" and not eager,
    )
    parameters = [np.float64(ops.convert_to_numpy(v)) for v in model.trainable_variables]
    velocities = [np.zeros_like(each) for each in parameters]
    images = np.float64(x).reshape(len(x), -1)
    for _ in range(3):
        loss, first = loss_and_gradients(images, y, parameters)
        length = np.sqrt(sum((g**2).sum() for g in first))
        there = [w + RHO * g / length for w, g in zip(parameters, first)]
        _, second = loss_and_gradients(images, y, there)
        for i, (w, g) in enumerate(zip(parameters, second)):
            # The decay is that of the weights themselves.
            velocities[i] = MOMENTUM * velocities[i] - RATE * (g + DECAY * w)
            parameters[i] = w + velocities[i]
        # The loss is that of the first pass.
        assert abs(model.train_on_batch(x, y) - loss) < 1e-5
        model.reset_metrics()
    for found, expected in zip(model.trainable_variables, parameters, strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(found), expected, rtol=0, atol=2e-5)


def with_draws():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((2, 2, 2)),
            layers.Flatten(),
            layers.Dense(6),
            layers.BatchNormalization(),
            layers.Dropout(0.5, seed=3),
            layers.Dense(3),
        ]
    )


def test_a_short_step_is_the_plain_one_with_its_statistics_masks_and_metrics():
    sharpness = SharpnessAware(rho=1e-9)
    model = compile_model(DefendedTraining(with_draws(), sharpness=sharpness))
    reference, (x, y) = compile_model(with_draws()), data()
    for _ in range(3):
        found, expected = model.train_on_batch(x, y), reference.train_on_batch(x, y)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
        model.reset_metrics()
        reference.reset_metrics()
        # Random states too.
        assert_close(model, reference)


def test_statistics_are_those_of_the_first_pass():
    model = compile_model(DefendedTraining(with_draws(), sharpness=SharpnessAware(5.0)))
    x, y = data()
    reference = compile_model(with_draws())
    found = model.train_on_batch(x, y, return_dict=True)
    assert found == pytest.approx(reference.train_on_batch(x, y, return_dict=True), abs=1e-6)
    for one, other in zip(
        model.non_trainable_variables, reference.non_trainable_variables, strict=True
    ):
        np.testing.assert_array_equal(ops.convert_to_numpy(one), ops.convert_to_numpy(other))
    moved = [np.abs(a - b).max() for a, b in zip(weights(model), weights(reference), strict=True)]
    assert max(moved) > 0.01


@pytest.mark.parametrize("eager", [True, False], ids=["eager", "compiled"])
def test_no_step_and_no_part_are_plain_training_bit_for_bit(eager):
    eager = eager and BACKEND != "jax"
    reference, (x, y) = compile_model(with_draws(), eager=eager), data()
    models = [
        compile_model(DefendedTraining(with_draws(), **parts), eager=eager)
        for parts in ({}, {"sharpness": SharpnessAware(0.0)}, {"sharpness": None, "loss_terms": []})
    ]
    for _ in range(2):
        expected = reference.train_on_batch(x, y)
        for model in models:
            assert model.train_on_batch(x, y) == expected
    for model in models:
        assert_same_bits(model, reference)


def test_it_works_with_dep_and_adversarial_batches():
    attack, (x, y) = FGSM(epsilon=0.2), data()
    sharpness = SharpnessAware(RHO)
    model = compile_model(DefendedTraining(build_network(), attack, sharpness=sharpness), dep=True)
    reference = compile_model(DefendedTraining(build_network(), sharpness=sharpness), dep=True)
    assert isinstance(model.optimizer, DEP)
    for _ in range(2):
        crafted = attack(reference.network, x, y)
        reference.train_on_batch(crafted, y)
        model.train_on_batch(inputs(x, 1), y)
        assert_close(model, reference)
    plain = compile_model(build_network(), dep=True)
    plain.train_on_batch(attack(plain, x, y), y)
    assert np.abs(weights(plain)[0] - weights(model)[0]).max() > 0.01


def spiking():
    keras.utils.set_random_seed(2)
    wide = keras.initializers.RandomNormal(stddev=1.0)
    return keras.Sequential(
        [
            keras.Input((3,)),
            DirectEncoding(1),
            layers.Dense(5, use_bias=False, kernel_initializer=wide),
            layers.BatchNormalization(),
            LIF(1),
            layers.Dense(3, use_bias=False, kernel_initializer=wide),
        ]
    )


def test_the_first_pass_may_run_through_the_surrogate_forward():
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(8, 3)).astype("float32"), draw.integers(0, 3, 8)

    def smooth(inputs):
        # The logistic function of width 0.5 ahead of a threshold of 1.
        return ops.sigmoid((inputs - 1.0) / 0.5)

    class Recorded(DefendedTraining):
        def choose_gradient(self, x, y, sample_weight, training_pass):
            self.gradients, self.offsets = [], []

            def recorded(x, y, sample_weight, offsets=None):
                found = training_pass(x, y, sample_weight, offsets)
                self.gradients.append(found.gradients)
                self.offsets.append(offsets)
                return found

            return super().choose_gradient(x, y, sample_weight, recorded)

    def trained(network, **surrogate):
        model = Recorded(network, sharpness=SharpnessAware(RHO, **surrogate))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        # Eager steps alone show their passes.
        model.compile("sgd", loss, run_eagerly=True)
        return model, model.train_on_batch(x, y)

    network, counterpart = spiking(), spiking()
    given = [ops.convert_to_numpy(v) for v in network.trainable_variables]
    replaced = [smooth if isinstance(each, LIF) else each for each in counterpart.layers]
    counterpart = keras.Sequential(
        [
            keras.Input((3,)),
            *(layers.Activation(each) if each is smooth else each for each in replaced),
        ]
    )
    model, loss = trained(network, surrogate="sigmoid", width=0.5)
    reference, _ = trained(counterpart)
    for found, expected in zip(model.gradients[0], reference.gradients[0], strict=True):
        found, expected = map(ops.convert_to_numpy, (found, expected))
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    # The second pass spikes, at the weights that the first has found, and counts.
    offsets = [ops.convert_to_numpy(each) for each in model.offsets[1]]
    assert np.sqrt(sum((each**2).sum() for each in offsets)) == pytest.approx(RHO, rel=1e-5)
    there = spiking()
    for variable, value, offset in zip(there.trainable_variables, given, offsets, strict=True):
        variable.assign(value + offset)
    there.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    assert there.train_on_batch(x, y) == pytest.approx(loss, abs=1e-5)
    for one, other in zip(
        model.non_trainable_variables, there.non_trainable_variables, strict=True
    ):
        one, other = map(ops.convert_to_numpy, (one, other))
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)


def test_mixed_precision_skips_a_step_that_overflows_and_logs_a_finite_loss():
    x, y = data()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = DefendedTraining(build_network(), sharpness=SharpnessAware(RHO))
        model.compile(
            keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1), initial_scale=2.0**24),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=BACKEND == "jax",
        )
        before = [ops.convert_to_numpy(v) for v in model.trainable_variables]
        assert np.isfinite(model.train_on_batch(x, y))
        for one, other in zip(before, model.trainable_variables, strict=True):
            np.testing.assert_array_equal(one, ops.convert_to_numpy(other))
        for _ in range(12):
            assert np.isfinite(model.train_on_batch(x, y))
        moved = ops.convert_to_numpy(model.trainable_variables[0])
        assert np.isfinite(moved).all() and np.abs(moved - before[0]).max() > 1e-3
    finally:
        keras.config.set_dtype_policy("float32")


def test_save_load_and_go_on_exactly(tmp_path):
    sharpness = SharpnessAware(RHO)
    model = compile_model(DefendedTraining(build_network(), FGSM(epsilon=0.1), sharpness=sharpness))
    x, y = data()
    model.train_on_batch(inputs(x, 1), y)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.sharpness == sharpness and loaded.attack.get_config() == model.attack.get_config()
    assert_same_bits(loaded, model)
    for each in (model, loaded):
        each.train_on_batch(inputs(x, 1), y)
    assert_same_bits(loaded, model)


def test_the_loss_of_an_epoch_counts_images():
    model = compile_model(DefendedTraining(with_draws(), sharpness=SharpnessAware(1e-9)))
    reference, (x, y) = compile_model(with_draws()), data()
    # The last batch is smaller.
    found, expected = (
        each.fit(x, y, batch_size=6, shuffle=False, verbose=0).history["loss"]
        for each in (model, reference)
    )
    assert found == pytest.approx(expected, abs=1e-6)


def test_offsets_survive_small_and_absent_gradients():
    tiny = ops.convert_to_tensor(np.array([3e-30, 4e-30], "float32"))
    none, offset = SharpnessAware(1.0).offsets([None, tiny])
    assert none is None
    np.testing.assert_allclose(ops.convert_to_numpy(offset), [0.6, 0.8], rtol=1e-5)
    for value in (0.0, np.inf, np.nan):
        gradient = ops.convert_to_tensor(np.array([value, value], "float32"))
        (still,) = SharpnessAware(1.0).offsets([gradient])
        np.testing.assert_array_equal(ops.convert_to_numpy(still), [0, 0])


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: SharpnessAware(-0.1), "rho must be finite and at least 0; received -0.1"),
        (lambda: SharpnessAware(float("nan")), "rho must be finite and at least 0; received nan"),
        (lambda: SharpnessAware(width=1.0), "width must be None without a surrogate"),
        (lambda: SharpnessAware(surrogate="piecewise_exponential"), "primitive in closed form"),
        (
            lambda: DefendedTraining(build_network(), sharpness=SharpnessAware(surrogate="arctan")),
            "spiking layers derived from keras_dep.LIF; received none",
        ),
        (
            lambda: compile_model(DefendedTraining(build_network())).train_on_batch(
                inputs(data()[0], 1), data()[1]
            ),
            "attack must be given for batches with marks; received None",
        ),
    ],
    ids=["negative", "nan", "width", "no primitive", "no spikes", "no attack"],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message) as raised:
        call()
    assert "\n" not in str(raised.value)
