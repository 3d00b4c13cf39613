"""The Hessian's leading eigenvalues against PyHessian's on a torch twin with the same weights."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_dep.curvature import Hessian
from keras_dep.encoders import DirectEncoding
from keras_dep.losses import MeanLogitCrossentropy
from keras_dep.neurons.lif import LIF
from keras_dep.timewise import Steps

if keras.backend.backend() != "torch":
    pytest.skip("the peer is a torch library", allow_module_level=True)

torch = pytest.importorskip("torch")
pyhessian = pytest.importorskip("pyhessian")

FEATURES, HIDDEN, CLASSES, TIMESTEPS, BATCH = 6, 8, 3, 4, 32

pytestmark = pytest.mark.filterwarnings("ignore:Using backward")


def test_smooth_network():
    model = _keras_network([layers.Activation("tanh")], [])
    twin = _TorchNetwork(model, torch.tanh)
    _assert_leading_values_equal(model, twin, lambda logits: logits)


@pytest.mark.parametrize("reset", ["soft", "hard"])
def test_spiking_network(reset):
    """The twin's neurons are written out in torch, its spike is a custom autograd function."""
    lif = LIF(TIMESTEPS, tau=1.5, reset=reset, surrogate="sigmoid", width=0.25)
    model = _keras_network([DirectEncoding(TIMESTEPS), lif], [Steps(TIMESTEPS)])
    twin = _TorchNetwork(model, lambda current: _spike_train(current, 1.5, reset))
    _assert_leading_values_equal(model, twin, lambda logits: logits.mean(dim=0))


def _assert_leading_values_equal(model, twin, read_out):
    draw = np.random.default_rng(2)
    x = draw.normal(0, 1, (BATCH, FEATURES)).astype("float32")
    y = draw.integers(0, CLASSES, BATCH)

    with torch.no_grad():
        ours, theirs = model(x), twin(torch.tensor(x))
    ours = ours.swapaxes(0, 1) if ours.ndim == 3 else ours
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-5)

    def criterion(outputs, labels):
        return torch.nn.functional.cross_entropy(read_out(outputs), labels)

    torch.manual_seed(0)  # the peer's start vectors
    peer = pyhessian.hessian(twin, criterion, data=(torch.tensor(x), torch.tensor(y)), cuda=False)
    expected, _ = peer.eigenvalues(maxIter=1000, tol=1e-6, top_n=2)
    hessian = Hessian(model, MeanLogitCrossentropy())
    found = hessian.spectrum(x, y.astype("int32"), count=2, tolerance=1e-4).eigenvalues
    np.testing.assert_allclose(found, expected, rtol=0.01)


def _keras_network(neurons, end):
    keras.utils.set_random_seed(4)
    body = [layers.Dense(HIDDEN, kernel_initializer="he_normal"), *neurons, layers.Dense(CLASSES)]
    return keras.Sequential([keras.Input((FEATURES,)), *body, *end])


class _TorchNetwork(torch.nn.Module):
    """Dense, neurons, dense: with the weights of the Keras network."""

    def __init__(self, model, neurons):
        super().__init__()
        weights = [torch.tensor(weight) for weight in model.get_weights()]
        self.weights = torch.nn.ParameterList(weights)
        self.neurons = neurons

    def forward(self, x):
        kernel, bias, kernel_out, bias_out = self.weights
        return self.neurons(x @ kernel + bias) @ kernel_out + bias_out


class _Spike(torch.autograd.Function):
    """Heaviside step whose derivative is that of `sigmoid(4 x)`."""

    @staticmethod
    def forward(context, x):
        context.save_for_backward(x)
        return (x >= 0).to(x.dtype)

    @staticmethod
    def backward(context, upstream):
        (x,) = context.saved_tensors
        return upstream * torch.cosh(2 * x) ** -2


def _spike_train(current, tau, reset):
    membrane, spikes = torch.zeros_like(current), []
    for _ in range(TIMESTEPS):
        membrane = membrane - membrane / tau + current
        fired = _Spike.apply(membrane - 1.0)
        membrane = membrane - fired if reset == "soft" else membrane * (1 - fired)
        spikes.append(fired)
    return torch.stack(spikes)
