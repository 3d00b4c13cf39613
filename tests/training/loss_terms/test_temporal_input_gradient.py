"""TG-Reg against nested derivatives in float64, and against the attacks' gradient of frames."""

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops

from keras_dep import LIF
from keras_dep import DirectEncoding
from keras_dep import MeanLogitCrossentropy
from keras_dep import UnfoldTime
from keras_dep import distribution
from keras_dep.attacks import FGSM
from keras_dep.layers import MergedBatchNormalization
from keras_dep.models.per_step_inputs import with_frames
from keras_dep.training import DefendedTraining
from keras_dep.training import TemporalInputGradient
from tests.support.numpy_reference import central
from tests.support.numpy_reference import complex_step
from tests.support.numpy_reference import injected

STRENGTH, RATE, STEPS, FEATURES, CLASSES, EPSILON = 3.0, 0.5, 2, 3, 3, 1e-3
BACKEND = keras.backend.backend()


def network(*hidden):
    body = [
        keras.Input((FEATURES,)),
        DirectEncoding(STEPS),
        layers.Dense(4),
        *hidden,
        layers.Dense(CLASSES),
        UnfoldTime(STEPS),
    ]
    return injected(keras.Sequential(body), seed=0, deviation=1.0)


def data():
    draw = np.random.default_rng(1)
    return draw.uniform(0, 1, (4, FEATURES)).astype("float32"), draw.integers(0, CLASSES, 4)


def entropies(frames, y, parameters):
    """Cross-entropy per sample of a network that normalises over batch and steps."""
    kernel, bias, gamma, beta, top, shift = parameters
    hidden = frames @ kernel + bias
    centred = hidden - hidden.mean(axis=0)
    centred = centred / np.sqrt((centred**2).mean(axis=0) + EPSILON)
    z = np.tanh(gamma * centred + beta) @ top + shift
    z = z.reshape(STEPS, -1, CLASSES).mean(axis=0)
    return np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(y)), y]


@pytest.mark.parametrize("eager", [True, False], ids=["eager", "compiled"])
def test_value_and_step_are_those_of_nested_derivatives(eager):
    x, y = data()
    smooth = network(MergedBatchNormalization(epsilon=EPSILON), layers.Activation("tanh"))
    model = DefendedTraining(smooth, loss_terms=[TemporalInputGradient(STRENGTH, "sample")])
    model.compile(
        keras.optimizers.SGD(RATE),
        MeanLogitCrossentropy(),
        run_eagerly=eager,
        jit_compile=not eager and BACKEND == "jax",
    )
    parameters = [np.float64(ops.convert_to_numpy(v)) for v in model.trainable_variables]
    frames = np.concatenate([np.float64(x)] * STEPS)

    def penalty(parameters):
        slope = complex_step(lambda frames: entropies(frames, y, parameters).sum(), frames)
        return STRENGTH * (slope**2).sum(axis=1).mean()

    def total(parameters):
        return entropies(frames, y, parameters).mean() + penalty(parameters)

    logs = model.train_on_batch(x, y, return_dict=True)
    assert logs["temporal_input_gradient"] == pytest.approx(penalty(parameters), rel=1e-4)
    assert logs["loss"] == pytest.approx(total(parameters), rel=1e-4)
    assert penalty(parameters) > 0.1
    slopes = central(total, parameters)
    for found, w, slope in zip(model.trainable_variables, parameters, slopes, strict=True):
        found = ops.convert_to_numpy(found)
        np.testing.assert_allclose(found, w - RATE * slope, rtol=0, atol=2e-5)
    # The pass behind the penalty updates nothing.
    (normalisation,) = [each for each in smooth.layers if "normalization" in each.name]
    kernel, bias = parameters[:2]
    expected = (1 - normalisation.momentum) * (x @ kernel + bias).mean(axis=0)
    moved = ops.convert_to_numpy(normalisation.moving_mean)
    np.testing.assert_allclose(moved, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("gradient_of", ["sample", "batch"])
def test_through_spikes_it_is_the_gradient_that_attacks_on_frames_follow(gradient_of):
    x, y = data()
    divisor = len(x) ** 2 if gradient_of == "batch" else 1
    spiking = network(LIF(STEPS, tau=2.0, surrogate="arctan"))
    frames = with_frames(spiking).frames(x)
    slope = FGSM().gradient(with_frames(spiking), frames, y)
    expected = STRENGTH * (slope.reshape(-1, FEATURES) ** 2).sum(axis=1).mean()
    before = [ops.convert_to_numpy(v) for v in spiking.trainable_variables]
    term = TemporalInputGradient(STRENGTH * divisor, gradient_of)
    model = DefendedTraining(spiking, loss_terms=[term])
    model.compile("sgd", MeanLogitCrossentropy(), run_eagerly=BACKEND != "jax")
    logs = model.train_on_batch(x, y, return_dict=True)
    assert logs["temporal_input_gradient"] == pytest.approx(expected, rel=1e-4)
    assert expected > 0.005
    plain = network(LIF(STEPS, tau=2.0, surrogate="arctan"))
    for variable, value in zip(plain.trainable_variables, before, strict=True):
        variable.assign(value)
    plain.compile("sgd", MeanLogitCrossentropy(), run_eagerly=BACKEND != "jax")
    plain.train_on_batch(x, y)
    one, other = (ops.convert_to_numpy(v.trainable_variables[0]) for v in (plain, spiking))
    assert np.abs(one - other).max() > 1e-4


def test_several_processes_divide_by_the_images_of_the_whole_batch(monkeypatch):
    x, y = (ops.convert_to_tensor(each) for each in data())
    term, spiking = TemporalInputGradient(STRENGTH), network(LIF(STEPS))
    alone = ops.convert_to_numpy(term(spiking, x, y, None, None))
    monkeypatch.setattr(distribution.workers(), "count", 2)
    part = ops.convert_to_numpy(term(spiking, x, y, None, None))
    assert part == pytest.approx(alone / 4, rel=1e-4) and alone > 1e-4
    # Processes of JAX run one program on the whole batch.
    monkeypatch.setattr(distribution.workers(), "whole", True)
    whole = ops.convert_to_numpy(term(spiking, x, y, None, None))
    assert whole == pytest.approx(alone, rel=1e-4)


def test_it_needs_images_that_are_repeated():
    images = keras.Sequential([keras.Input((FEATURES,)), layers.Dense(CLASSES)])
    with pytest.raises(ValueError, match="must repeat its image by DirectEncoding"):
        DefendedTraining(images, loss_terms=[TemporalInputGradient()])
    with pytest.raises(ValueError, match="strength must be finite and at least 0; received inf"):
        TemporalInputGradient(float("inf"))
    with pytest.raises(ValueError, match="gradient_of must be one of batch, sample; received 'x'"):
        TemporalInputGradient(gradient_of="x")
