"""The LIF layer against SpikingJelly's: the same spikes and the same input gradients."""

import keras
import numpy as np
import pytest

from keras_dep import surrogates
from keras_dep.layers.lif import LIF
from keras_dep.layers.plif import PLIF

if keras.backend.backend() != "torch":
    pytest.skip("the peer is a torch library", allow_module_level=True)

torch = pytest.importorskip("torch")
neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
surrogate = pytest.importorskip("spikingjelly.activation_based.surrogate")

TIMESTEPS, BATCH, UNITS = 6, 16, 20
PEER_SURROGATES = {
    "triangle": surrogate.PiecewiseQuadratic,
    "rectangle": surrogate.Rect,
    "sigmoid": surrogate.Sigmoid,
    "arctan": surrogate.ATan,
    "fast_sigmoid": surrogate.SoftSign,
    "piecewise_exponential": surrogate.PiecewiseExp,
}


@pytest.mark.parametrize("detach_membrane", [False, True])
@pytest.mark.parametrize("detach_reset", [False, True])
@pytest.mark.parametrize("reset", ["soft", "hard"])
@pytest.mark.parametrize("name", surrogates.names())
def test_spikes_and_gradients_equal(name, reset, detach_reset, detach_membrane):
    options = {"tau": 1.1, "reset": reset, "detach_reset": detach_reset}
    _assert_equal(name, surrogates.usual_width(name), detach_membrane, **options)


@pytest.mark.parametrize("detach_membrane", [False, True])
@pytest.mark.parametrize("name", surrogates.names())
def test_long_memory_and_unusual_width_and_threshold(name, detach_membrane):
    options = {"tau": 4.0, "threshold": 0.7, "reset": "soft", "detach_reset": False}
    _assert_equal(name, 1.6, detach_membrane, **options)


def test_the_options_change_the_gradient():
    """Guards the comparisons above against a current on which the options make no difference."""
    cases = [(False, False), (True, False), (False, True)]
    for reset in ("soft", "hard"):
        found = []
        for detach_reset, detach_membrane in cases:
            layer = LIF(
                TIMESTEPS, reset=reset, detach_reset=detach_reset, detach_membrane=detach_membrane
            )
            found.append(_spikes_and_gradient(_steps(layer))[1])
        for first in range(3):
            for second in range(first):
                assert np.abs(found[first] - found[second]).max() > 1e-3


class _DetachedMembraneLIF(neuron.LIFNode):
    """The peer's neuron one step at a time, with the carried membrane cut from the graph."""

    def multi_step_forward(self, currents):
        spikes = []
        for current in currents:
            spikes.append(self.single_step_forward(current))
            self.v = self.v.detach()
        return torch.stack(spikes)


def _assert_equal(name, width, detach_membrane, *, tau, reset, detach_reset, threshold=1.0):
    ours = LIF(
        TIMESTEPS,
        tau=tau,
        threshold=threshold,
        reset=reset,
        detach_reset=detach_reset,
        detach_membrane=detach_membrane,
        surrogate=name,
        width=width,
    )
    peer = (_DetachedMembraneLIF if detach_membrane else neuron.LIFNode)(
        tau=tau,
        decay_input=False,
        v_threshold=threshold,
        v_reset=None if reset == "soft" else 0.0,
        surrogate_function=PEER_SURROGATES[name](alpha=1 / width),
        detach_reset=detach_reset,
        step_mode="m",
    )
    spikes, gradient = _spikes_and_gradient(_steps(ours))
    peer_spikes, peer_gradient = _spikes_and_gradient(peer)
    assert 0.2 < peer_spikes.mean() < 0.8
    np.testing.assert_array_equal(spikes, peer_spikes)
    np.testing.assert_allclose(gradient, peer_gradient, rtol=0, atol=1e-5)


@pytest.mark.parametrize("reset", ["soft", "hard"])
@pytest.mark.parametrize("tau", [1.2, 2.0, 5.0])
def test_learnt_time_constant(tau, reset):
    layer = PLIF(TIMESTEPS, tau, reset=reset, surrogate="arctan")
    layer.build((None, UNITS))
    peer = neuron.ParametricLIFNode(
        init_tau=tau,
        decay_input=False,
        v_reset=None if reset == "soft" else 0.0,
        surrogate_function=surrogate.ATan(alpha=2.0),
        step_mode="m",
    )
    ours = _spikes_and_gradient(_steps(layer), [layer.leak.value])
    theirs = _spikes_and_gradient(peer, [peer.w])
    np.testing.assert_array_equal(ours[0], theirs[0])
    for found, expected in zip(ours[1:], theirs[1:]):
        np.testing.assert_allclose(np.ravel(found), np.ravel(expected), rtol=1e-5, atol=1e-5)
    assert abs(ours[2]).max() > 0.1


def _steps(layer):
    """Our layer as a function of `(T, batch, units)`."""
    return lambda currents: layer(currents.reshape(-1, UNITS)).reshape(currents.shape)


def _spikes_and_gradient(neurons, weights_inside=()):
    """Spikes, and the gradients of a random weighting of them in the current and in weights."""
    draw = np.random.default_rng(0)
    shape = (TIMESTEPS, BATCH, UNITS)
    currents = torch.tensor(draw.normal(0.8, 1.0, shape).astype("float32"), requires_grad=True)
    weights = torch.tensor(draw.normal(0.0, 1.0, shape).astype("float32"))
    with torch.enable_grad():
        spikes = neurons(currents)
        gradients = torch.autograd.grad((weights * spikes).sum(), [currents, *weights_inside])
    return spikes.detach().numpy(), *(gradient.numpy() for gradient in gradients)
