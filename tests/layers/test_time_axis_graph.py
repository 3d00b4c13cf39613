"""Time that is not folded, or folded into another number of steps, is refused."""

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops

from keras_dep import IF
from keras_dep import LIF
from keras_dep import PLIF
from keras_dep import DirectEncoding
from keras_dep import FoldTime
from keras_dep import Integrator
from keras_dep import LatencyEncoding
from keras_dep import RateEncoding
from keras_dep import UnfoldTime
from keras_dep._backend import calls
from keras_dep.layers import Folded
from keras_dep.layers import SpikingLayer
from keras_dep.layers import StepwiseBatchNormalization
from keras_dep.layers import TimeSharedDropout
from keras_dep.models import with_frames


class Own(SpikingLayer):
    """A user's neuron that overrides `call`."""

    def call(self, inputs):
        return self.fire(inputs - self.threshold)


COUNTING = [
    Own,
    LIF,
    IF,
    PLIF,
    Integrator,
    UnfoldTime,
    StepwiseBatchNormalization,
    lambda steps: TimeSharedDropout(0.5, steps),
]
ENCODERS = [DirectEncoding, RateEncoding, LatencyEncoding]
UNFOLDED = r"must get timesteps=4 steps folded into the batch; received one row per sample"
X = np.random.default_rng(0).random((8, 3)).astype("float32")


def sequential(*body):
    return keras.Sequential([keras.Input((3,)), *body])


@pytest.mark.parametrize("kind", COUNTING)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_layer_of_other_steps_than_its_encoder(encoder, kind):
    with pytest.raises(ValueError, match="received timesteps=8 for 4 steps behind .*one number"):
        sequential(encoder(4), layers.Dense(2), kind(8))
    sequential(encoder(4), layers.Dense(2), kind(4))


def test_other_numbers_of_steps_further_on():
    with pytest.raises(ValueError, match="for 4 steps behind LIF 'first'"):
        sequential(LIF(4, name="first"), layers.Dense(2), UnfoldTime(2))
    with pytest.raises(ValueError, match="received one row per sample behind UnfoldTime"):
        sequential(DirectEncoding(4), UnfoldTime(4), LIF(4))
    with pytest.raises(ValueError, match="must get time unfolded.*received 4 steps.*once"):
        sequential(DirectEncoding(4), LIF(4), DirectEncoding(4))
    inputs = keras.Input((3,))
    x = DirectEncoding(4)(inputs)
    branches = layers.Add()([x, LIF(4)(x)])
    with pytest.raises(ValueError, match="received timesteps=2 for 4 steps"):
        UnfoldTime(2)(branches)


@pytest.mark.parametrize("kind", COUNTING)
def test_a_model_without_encoder(kind):
    network = sequential(layers.Dense(2), kind(4))
    with pytest.raises(ValueError, match=UNFOLDED):
        network(X)


@pytest.mark.parametrize("way", ["predict", "predict_on_batch", "fit", "evaluate"])
def test_every_way_to_ask_a_model_without_encoder(way):
    network = sequential(layers.Dense(3), LIF(4), layers.Dense(2))
    network.compile("sgd", "mse")
    wanted = [np.zeros((8, 2), "float32")] if way in ("fit", "evaluate") else []
    with pytest.raises(ValueError, match=UNFOLDED):
        getattr(network, way)(X, *wanted)


def test_a_model_without_input():
    with pytest.raises(ValueError, match=UNFOLDED):
        keras.Sequential([layers.Dense(3), LIF(4)])(X)


def test_models_inside_models():
    block = sequential(layers.Dense(3), LIF(4))
    deferred = keras.Sequential([layers.Dense(3), LIF(4)])
    outer = sequential(DirectEncoding(4), block, deferred, UnfoldTime(4))
    assert outer.predict_on_batch(X).shape == (8, 4, 3)
    again = keras.models.clone_model(outer)
    assert again.predict_on_batch(X).shape == (8, 4, 3)
    with pytest.raises(ValueError, match=UNFOLDED):
        sequential(block, layers.Dense(2))(X)
    with pytest.raises(ValueError, match="received timesteps=4 for 2 steps"):
        sequential(DirectEncoding(2), block)(X)
    with pytest.raises(ValueError, match="received timesteps=2 for 4 steps behind LIF"):
        sequential(DirectEncoding(4), block, layers.Dense(2), UnfoldTime(2))
    encoder = sequential(layers.Dense(3), DirectEncoding(4))
    assert sequential(encoder, block).predict_on_batch(X).shape == (32, 3)


class Repeating(layers.Layer):
    def call(self, inputs):
        return ops.concatenate([inputs] * 4)

    def compute_output_shape(self, input_shape):
        return (None, *input_shape[1:])


def test_what_a_graph_does_not_show_is_left_alone():
    assert sequential(Repeating(), LIF(4), UnfoldTime(4)).predict_on_batch(X).shape == (8, 4, 3)
    inputs = keras.Input((3,))
    repeated = keras.Model(inputs, LIF(4)(ops.tile(inputs, (4, 1))))
    assert repeated.predict_on_batch(X).shape == (32, 3)

    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.block = sequential(LIF(4))

        def call(self, inputs):
            return self.block(ops.tile(inputs, (4, 1)))

    assert Own()(X).shape == (32, 3)
    # A layer alone has no graph.
    assert LIF(4)(X).shape == (8, 3)


def test_inputs_that_are_said_to_hold_the_steps(tmp_path):
    network = sequential(Folded(4), layers.Dense(2), LIF(4))
    assert network.predict_on_batch(X).shape == (8, 2)
    network.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict_on_batch(X), network.predict_on_batch(X))
    # Inside another network they do hold steps.
    outer = sequential(DirectEncoding(4), network, UnfoldTime(4))
    assert outer.predict_on_batch(X).shape == (8, 4, 2)
    with pytest.raises(ValueError, match="received timesteps=4 for 2 steps"):
        sequential(DirectEncoding(2), network)(X)
    with pytest.raises(ValueError, match="received one row per sample behind UnfoldTime"):
        sequential(DirectEncoding(4), UnfoldTime(4), Folded(4))


def test_one_step_needs_no_folding():
    assert sequential(layers.Dense(2), LIF(1), UnfoldTime(1)).predict_on_batch(X).shape == (8, 1, 2)


def test_a_network_shown_frames():
    framewise = with_frames(sequential(layers.Dense(2), DirectEncoding(4), LIF(4), UnfoldTime(4)))
    assert framewise(framewise.frames(X)).shape == (8, 4, 2)


@pytest.mark.parametrize("kind", COUNTING)
def test_a_batch_of_parts_of_steps(kind):
    message = "timesteps=4 steps; received 10 rows, not a multiple of 4"
    with pytest.raises(ValueError, match=message):
        kind(4)(np.ones((10, 3), "float32"))
    with pytest.raises(ValueError, match=message):
        kind(4)(keras.Input((3,), batch_size=10))


def test_frames_of_another_number():
    message = r"inputs must be \(batch, timesteps=4, ...\); received shape \(2, 5, 3\)"
    with pytest.raises(ValueError, match=message):
        FoldTime(4)(np.ones((2, 5, 3), "float32"))
    with pytest.raises(ValueError, match="received shape"):
        FoldTime(4)(keras.Input((5, 3)))


def test_the_door_to_the_call_of_keras():
    seen = []

    class Seeing(layers.Layer):
        def call(self, inputs):
            seen.append(calls.outermost())
            return inputs

    network = sequential(Seeing())
    seen.clear()
    network(X)
    assert seen == [network] and calls.outermost() is None
    variables = network.trainable_variables, network.non_trainable_variables
    outer = sequential(network)
    outer.stateless_call(*variables, X)
    assert seen[1:] == [outer]
