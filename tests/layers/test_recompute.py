"""Recomputation changes memory only."""

import keras
import numpy as np
import pytest

from keras_dep import LIF
from keras_dep import PLIF
from keras_dep.layers import EvolutionaryLeakLIF
from keras_dep.layers import Folded
from keras_dep.layers import ThresholdAdaptingLIF

T = 4


def trained(kind, recompute):
    """Weights after one training step of a network with two spiking layers."""
    layers = [keras.layers.Dense(5), kind(T, tau=2.0, recompute=recompute)]
    layers += [keras.layers.Dense(3), kind(T, tau=2.0, recompute=recompute)]
    model = keras.Sequential([keras.Input((6,)), Folded(T), *layers])
    draw = np.random.default_rng(0)
    model.set_weights([draw.normal(0.3, 0.5, w.shape) for w in model.get_weights()])
    model.compile(keras.optimizers.SGD(1.0), loss="mse")
    before = model.get_weights()
    x = draw.normal(0.6, 0.5, (2 * T, 6)).astype("float32")
    model.train_on_batch(x, np.full((2 * T, 3), 0.3, "float32"))
    return before, model.get_weights()


@pytest.mark.parametrize("kind", [LIF, PLIF, EvolutionaryLeakLIF, ThresholdAdaptingLIF])
def test_the_same_step(kind):
    before, plain = trained(kind, recompute=False)
    _, recomputed = trained(kind, recompute=True)
    moved = [np.abs(one - start).max() for start, one in zip(before, plain)]
    assert np.median(moved) > 1e-3
    for one, other in zip(plain, recomputed):
        np.testing.assert_allclose(other, one, atol=1e-6)


@pytest.mark.parametrize("kind", [LIF, PLIF])
def test_less_is_kept(kind):
    if keras.backend.backend() != "torch":
        pytest.skip("only torch tells what it keeps")
    import torch

    def kept(recompute):
        sizes = []
        layer = kind(T, recompute=recompute)
        x = torch.rand(T, 100, requires_grad=True)

        def note(tensor):
            sizes.append(tensor.numel())
            return tensor

        layer.build(x.shape)
        with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
            layer(x)
        return sum(sizes)

    # Learnt constants are kept besides the currents.
    assert 100 * T <= kept(recompute=True) <= 100 * T + 2
    # Potentials except the first, which are the first currents; PLIF's membranes except the last.
    steps = 2 * T - 1 if kind is LIF else 3 * T - 2
    assert 100 * steps <= kept(recompute=False) <= 100 * steps + 2


def test_config_round_trip():
    layer = LIF(T, recompute=True)
    assert LIF.from_config(layer.get_config()).recompute
