"""A network of images as a network of frames, and perturbations of each frame."""

import keras
import numpy as np
import pytest

from keras_dep import FGSM
from keras_dep import models
from keras_dep.models import with_frames
from tests.support.spiking_reference import T
from tests.support.spiking_reference import network
from tests.support.spiking_reference import problem


@pytest.fixture(scope="module")
def model():
    return network()


def test_equal_frames_give_the_logits_of_the_image(model):
    of_frames, (x, _) = with_frames(model), problem()
    frames = of_frames.frames(x)
    assert frames.shape == (len(x), T, *x.shape[1:])
    expected = model.predict_on_batch(x)
    np.testing.assert_allclose(of_frames.predict_on_batch(frames), expected, atol=1e-6)
    assert of_frames.compute_output_shape((2, T, x.shape[1])) == (2, *expected.shape[1:])
    # The network itself still repeats its image.
    np.testing.assert_array_equal(model.predict_on_batch(x), expected)


def test_each_frame_counts_from_its_step_on(model):
    of_frames, (x, _) = with_frames(model), problem()
    frames = of_frames.frames(x)
    before = of_frames.predict_on_batch(frames)
    frames[:, 1] = 1 - frames[:, 1]
    after = of_frames.predict_on_batch(frames)
    np.testing.assert_allclose(after[:, 0], before[:, 0], atol=1e-6)
    assert np.abs(after[:, 1] - before[:, 1]).max() > 1e-3


def test_gradients_of_frames_sum_to_that_of_the_image(model):
    of_frames, (x, y) = with_frames(model), problem()
    attack, frames = FGSM(epsilon=0.2), of_frames.frames(x)
    slope = attack.gradient(of_frames, frames, y)
    np.testing.assert_allclose(slope.sum(axis=1), attack.gradient(model, x, y), atol=1e-5)
    found = attack(of_frames, frames, y)
    expected = np.clip(frames + 0.2 * np.sign(slope), 0, 1)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    # One perturbation for all steps could not follow the sign of each frame.
    assert (found[:, 0] != found[:, 1]).any()


def test_models_that_cannot_be_shown_frames():
    options = dict(input_shape=(8, 8, 1), num_classes=2, timesteps=2)
    with pytest.raises(ValueError, match="must repeat its image by DirectEncoding.*'vgg5'"):
        with_frames(models.build("vgg5", **options, encoder="events"))
    with pytest.raises(ValueError, match="must repeat its image by DirectEncoding"):
        with_frames(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]))
