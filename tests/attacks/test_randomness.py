"""Networks that draw at random, and attacks that ignore it."""

import warnings

import keras
import numpy as np
import pytest
from keras import ops

from keras_dep import LIF
from keras_dep import DirectEncoding
from keras_dep import RateEncoding
from keras_dep import UnfoldTime
from keras_dep import attacks
from keras_dep.attacks.randomness import is_random
from keras_dep.layers import GuardedLIF
from keras_dep.layers import StochasticGate

T = 2
IMAGE = np.full((1, 3), 0.5, "float32")


def network(*spiking):
    body = [keras.layers.Dense(4), *spiking, keras.layers.Dense(3), UnfoldTime(T)]
    return keras.Sequential([keras.Input((3,)), *body])


@pytest.mark.parametrize(
    "spiking, expected",
    [
        ((DirectEncoding(T), LIF(T)), False),
        ((RateEncoding(T), LIF(T)), True),
        ((DirectEncoding(T), LIF(T), StochasticGate(T)), True),
        ((DirectEncoding(T), LIF(T), StochasticGate(T, bypass=True)), False),
        ((DirectEncoding(T), GuardedLIF(T, noise="always")), True),
        ((DirectEncoding(T), GuardedLIF(T, noise="training")), False),
        ((DirectEncoding(T), GuardedLIF(T, noise="always", sigma=0.0)), False),
    ],
    ids=["plain", "rate", "gates", "bypassed", "noise", "training", "silent"],
)
def test_random_networks_are_known_by_their_layers(spiking, expected):
    # Gates that open with probability 0.999 answer alike nearly always.
    assert is_random(network(*spiking), IMAGE) == expected


def test_an_attack_that_sees_one_draw_warns():
    gated = network(DirectEncoding(T), LIF(T), StochasticGate(T, seed=0))
    with pytest.warns(UserWarning, match="FGSM sees one draw of .* received samples=1; average"):
        attacks.FGSM(epsilon=0.1)(gated, IMAGE, [0])
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        attacks.FGSM(epsilon=0.1, samples=2)(gated, IMAGE, [0])
        attacks.FGSM(epsilon=0.1)(network(DirectEncoding(T), LIF(T)), IMAGE, [0])


def test_the_gradient_passes_through_gates():
    """Averaged over samples it is that of the gates' mean, where the rest is linear."""
    gate = StochasticGate(T, seed=1)
    body = [DirectEncoding(T), gate, keras.layers.Dense(2, use_bias=False), UnfoldTime(T)]
    model = keras.Sequential([keras.Input((3,)), *body])
    gate.opening.assign([0.2, 0.5, 0.9])
    kernel = np.array([[1.0, -1.0], [2.0, 1.0], [-1.0, 1.0]])
    model.layers[2].kernel.assign(kernel)
    attack = attacks.PGD(epsilon=0.1, loss="margin", samples=400)
    found = attack.gradient(model, np.repeat(IMAGE, 8, axis=0), np.zeros(8, "int32")).mean(axis=0)
    expected = np.array([0.2, 0.5, 0.9]) * (kernel[:, 1] - kernel[:, 0])
    np.testing.assert_allclose(found, expected, atol=0.05)
    assert (ops.convert_to_numpy(gate.opening) == np.float32([0.2, 0.5, 0.9])).all()
