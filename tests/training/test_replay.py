"""Several updates per batch against updates written out in NumPy, and against plain training."""

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops

from keras_dep import DEP
from keras_dep import LIF
from keras_dep import PLIF
from keras_dep import DirectEncoding
from keras_dep import MeanLogitCrossentropy
from keras_dep import UnfoldTime
from keras_dep.callbacks import ResumeState
from keras_dep.layers import EvolutionaryLeakLIF
from keras_dep.layers import Integrator
from keras_dep.layers import MergedBatchNormalization
from keras_dep.layers import StepwiseBatchNormalization
from keras_dep.layers import TimeSharedDropout
from keras_dep.training import CraftedNoise
from keras_dep.training import DefendedTraining
from keras_dep.training import FreeAdversarial
from keras_dep.training import SharpnessAware
from keras_dep.training import TemporalInputGradient
from keras_dep.training import periods
from tests.training.test_adversarial import BACKEND
from tests.training.test_adversarial import assert_same_bits
from tests.training.test_adversarial import weights

STEPS, TAU, RATE, MOMENTUM = 4, 2.0, 3.0, 0.9
FEATURES, CLASSES, BATCH_SIZE = 5, 3, 6


def spiking(neuron=LIF, steps=STEPS):
    network = keras.Sequential(
        [
            keras.Input((FEATURES,)),
            DirectEncoding(steps),
            layers.Dense(7, use_bias=False),
            neuron(steps, tau=TAU),
            layers.Dense(CLASSES, use_bias=False),
            LIF(steps, tau=TAU),
            UnfoldTime(steps),
        ]
    )
    return drawn(network)


def drawn(network):
    """With kernels that are the same on every backend."""
    draw = np.random.default_rng(1)
    for layer in network.layers:
        if isinstance(layer, layers.Dense):
            layer.set_weights([draw.normal(size=layer.kernel.shape)])
    return network


def compiled(model, eager=BACKEND != "jax", dep=False):
    optimizer = keras.optimizers.SGD(RATE, momentum=MOMENTUM)
    model.compile(
        DEP(optimizer) if dep else optimizer,
        MeanLogitCrossentropy(),
        run_eagerly=eager,
        jit_compile=BACKEND == "jax" and not eager,
    )
    return model


def data(seed=0, count=BATCH_SIZE):
    draw = np.random.default_rng(seed)
    # Some pixels lie at the edge of the range.
    x = np.clip(draw.uniform(-0.3, 1.3, (count, FEATURES)), 0, 1).astype("float32")
    return x, draw.integers(0, CLASSES, count).astype("int32")


class Layer:
    """A matrix and neurons behind it, in float64."""

    def __init__(self, kernel):
        self.kernel, self.velocity = np.float64(kernel), np.zeros(kernel.shape)
        self.membrane = 0.0

    def forward(self, inputs):
        self.inputs, self.potentials, spikes = inputs, [], []
        for x in inputs:
            potential = (1 - 1 / TAU) * self.membrane + x @ self.kernel
            fired = np.float64(potential >= 1)
            self.membrane = potential - fired
            self.potentials.append(potential)
            spikes.append(fired)
        return spikes

    def backward(self, slopes):
        """Gradients in the inputs; keeps the one in the kernel."""
        found, of_membrane, self.gradient = [], 0.0, 0.0
        for x, potential, slope in zip(self.inputs[::-1], self.potentials[::-1], slopes[::-1]):
            surrogate = np.maximum(0, 1 - np.abs(potential - 1))
            through = of_membrane + (slope - of_membrane) * surrogate
            self.gradient = self.gradient + x.T @ through
            found.append(through @ self.kernel.T)
            of_membrane = (1 - 1 / TAU) * through
        return found[::-1]

    def update(self, dep):
        gradient = self.gradient
        if dep:
            left, values, right = np.linalg.svd(gradient, full_matrices=False)
            gradient = gradient - values[0] * np.outer(left[:, 0], right[0])
        self.velocity = MOMENTUM * self.velocity - RATE * gradient
        self.kernel = self.kernel + self.velocity


def step_in_periods(net, x, y, count, epsilon, step, dep):
    """One batch of crafted noise; the loss of its last period."""
    for layer in net:
        layer.membrane = 0.0
    offset, outputs = np.zeros(x.shape), []
    for _ in range(count):
        shown = np.clip(x + offset, 0, 1)
        spikes = [shown] * (STEPS // count)
        for layer in net:
            spikes = layer.forward(spikes)
        outputs += spikes
        logits = np.mean(outputs, axis=0)
        likely = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        loss = -np.log(likely[np.arange(len(y)), y]).mean()
        slope = (likely - np.eye(CLASSES)[y]) / len(y) / len(outputs)
        slopes = [slope] * len(spikes)
        for layer in net[::-1]:
            slopes = layer.backward(slopes)
        for layer in net:
            layer.update(dep)
        offset = np.clip(offset + step * np.sign(sum(slopes)), -epsilon, epsilon)
    return loss


@pytest.mark.parametrize(
    "count, dep, eager", [(2, False, True), (4, True, False)], ids=["two", "four with DEP"]
)
def test_periods_are_those_written_out(count, dep, eager):
    replay = CraftedNoise(count, epsilon=0.25, step=0.15)
    model = compiled(DefendedTraining(spiking(), replay=replay), eager=eager, dep=dep)
    net, without = (
        [Layer(ops.convert_to_numpy(v)) for v in model.trainable_variables] for _ in range(2)
    )
    for batch in range(3):
        x, y = data(batch)
        step_in_periods(without, np.float64(x), y, count, 0.0, 0.15, dep)
        expected = step_in_periods(net, np.float64(x), y, count, 0.25, 0.15, dep)
        assert abs(model.train_on_batch(x, y) - expected) < 1e-5
        model.reset_metrics()
    assert int(model.optimizer.iterations) == 3 * count
    for found, layer, other in zip(model.trainable_variables, net, without, strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(found), layer.kernel, rtol=0, atol=1e-5)
        # The noise weighs a hundred times what rounding may.
        assert np.abs(layer.kernel - other.kernel).max() > 1e-3


def timed():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((FEATURES,)),
            layers.Dense(7),
            MergedBatchNormalization(momentum=0.6),
            DirectEncoding(STEPS),
            PLIF(STEPS),
            TimeSharedDropout(0.3, STEPS, seed=3),
            layers.Dense(6),
            StepwiseBatchNormalization(STEPS),
            LIF(STEPS, tau=TAU),
            layers.Dense(CLASSES),
            Integrator(STEPS, tau=3.0),
            UnfoldTime(STEPS),
        ]
    )


def test_periods_together_are_the_whole_pass_with_its_masks_and_averages():
    (x, _), network, reference = data(), timed(), timed()
    expected = ops.convert_to_numpy(reference(x, training=True))
    state, found = {}, []
    for _ in range(2):
        logits, state = periods.run_period(network, x, 2, state, training=True)
        found.append(ops.convert_to_numpy(logits))
    np.testing.assert_allclose(np.concatenate(found, axis=1), expected, rtol=0, atol=1e-5)
    assert expected.any()
    for one, other in zip(network.variables, reference.variables, strict=True):
        np.testing.assert_allclose(
            ops.convert_to_numpy(one), ops.convert_to_numpy(other), rtol=0, atol=1e-6
        )
    # Nothing of the periods is left.
    np.testing.assert_array_equal(
        ops.convert_to_numpy(network(x, training=False)),
        ops.convert_to_numpy(reference(x, training=False)),
    )


def smooth():
    dense = layers.Dense(CLASSES, use_bias=False)
    return drawn(keras.Sequential([keras.Input((FEATURES,)), dense]))


@pytest.mark.parametrize("kept", [None, BATCH_SIZE], ids=["from zero", "from the batch before"])
def test_replays_are_those_written_out(kept):
    replay = FreeAdversarial(3, epsilon=0.25, step=0.15, batch_size=kept)
    model = compiled(DefendedTraining(smooth(), replay=replay), eager=False)
    kernel = np.float64(ops.convert_to_numpy(model.trainable_variables[0]))
    velocity, stored = 0.0, np.zeros((BATCH_SIZE, FEATURES))
    for batch, count in enumerate((BATCH_SIZE, BATCH_SIZE - 2, BATCH_SIZE)):
        x, y = data(batch, count)
        offset = stored[:count] if kept else np.zeros_like(stored[:count])
        for _ in range(3):
            shown = np.clip(x + offset, 0, 1)
            logits = shown @ kernel
            likely = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
            loss = -np.log(likely[np.arange(count), y]).mean()
            slope = (likely - np.eye(CLASSES)[y]) / count
            of_image = slope @ kernel.T
            velocity = MOMENTUM * velocity - RATE * shown.T @ slope
            kernel = kernel + velocity
            offset = np.clip(offset + 0.15 * np.sign(of_image), -0.25, 0.25)
        stored[:count] = offset
        assert abs(model.train_on_batch(x, y) - loss) < 1e-5
        model.reset_metrics()
    found = ops.convert_to_numpy(model.trainable_variables[0])
    np.testing.assert_allclose(found, kernel, rtol=0, atol=1e-5)
    if kept:
        (found,) = [ops.convert_to_numpy(v) for v in model.variables if v.name == "offset"]
        np.testing.assert_allclose(found, stored, rtol=0, atol=1e-6)


@pytest.mark.parametrize("replay", [CraftedNoise(1), FreeAdversarial(1, batch_size=2)])
def test_one_update_is_plain_training_bit_for_bit(replay):
    model = compiled(DefendedTraining(timed(), replay=replay), eager=False)
    reference, (x, y) = compiled(timed(), eager=False), data()
    for _ in range(2):
        assert model.train_on_batch(x, y) == reference.train_on_batch(x, y)
    assert_same_bits(model, reference)


@pytest.mark.parametrize("replay", [CraftedNoise(2), FreeAdversarial(2, batch_size=BATCH_SIZE)])
def test_save_load_and_go_on_exactly(replay, tmp_path):
    # Keras saves no random states.
    model = compiled(DefendedTraining(spiking(), replay=replay), eager=False)
    x, y = data(count=BATCH_SIZE + 2)
    model.fit(x, y, batch_size=BATCH_SIZE, shuffle=False, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.replay == replay
    for each in (model, loaded):
        each.train_on_batch(x[:BATCH_SIZE], y[:BATCH_SIZE])
    assert_same_bits(loaded, model)


@pytest.mark.parametrize("replay", [CraftedNoise(2), FreeAdversarial(2, batch_size=BATCH_SIZE)])
def test_resume_is_exact(replay, tmp_path):
    x, y = data(count=BATCH_SIZE + 2)

    def trained(epochs):
        model = compiled(DefendedTraining(timed(), replay=replay))
        state = ResumeState(tmp_path / "state")
        first = state.restore(model)
        options = {"batch_size": BATCH_SIZE, "shuffle": False, "verbose": 0}
        model.fit(x, y, epochs=epochs, initial_epoch=first, callbacks=[state], **options)
        return model

    trained(1)
    resumed = trained(2)
    reference = compiled(DefendedTraining(timed(), replay=replay))
    reference.fit(x, y, batch_size=BATCH_SIZE, shuffle=False, epochs=2, verbose=0)
    assert_same_bits(resumed, reference)


def test_half_precision_skips_what_overflows():
    x, y = data()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = DefendedTraining(timed(), replay=CraftedNoise(2))
        scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(RATE), 2.0**30)
        model.compile(scaled, MeanLogitCrossentropy(), jit_compile=BACKEND == "jax")
        before = weights(model)[0]
        for _ in range(12):
            assert np.isfinite(model.train_on_batch(x, y))
        assert np.isfinite(weights(model)[0]).all() and (weights(model)[0] != before).any()
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: CraftedNoise(0), "periods must be at least 1; received 0"),
        (lambda: CraftedNoise(epsilon=-0.1), "epsilon must be finite and at least 0"),
        (lambda: FreeAdversarial(step=0.0), "step must be finite and positive; received 0.0"),
        (
            lambda: DefendedTraining(spiking(), replay=CraftedNoise(3)),
            "must divide the timesteps; received 3 for timesteps=4 of DirectEncoding",
        ),
        (
            lambda: DefendedTraining(spiking(EvolutionaryLeakLIF), replay=CraftedNoise(2)),
            "may run on a part of the steps, LIF, .*; received EvolutionaryLeakLIF",
        ),
        (
            lambda: DefendedTraining(smooth(), replay=CraftedNoise(2)),
            r"logits \(batch, timesteps, classes\).*of output shape \(None, 3\)",
        ),
        (
            lambda: DefendedTraining(
                smooth(), sharpness=SharpnessAware(), replay=FreeAdversarial()
            ),
            "sharpness must be None with replay",
        ),
        (
            lambda: DefendedTraining(
                spiking(), loss_terms=[TemporalInputGradient()], replay=CraftedNoise()
            ),
            "loss_terms must be left out with replay; received 'temporal_input_gradient'",
        ),
        (
            lambda: compiled(
                DefendedTraining(smooth(), replay=FreeAdversarial(batch_size=2))
            ).train_on_batch(*data()),
            "at most batch_size=2 images with replay; received 6",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message) as raised:
        call()
    assert "\n" not in str(raised.value)
