"""Small networks written in Keras and once more in torch, with the same weights and data."""

import keras
import numpy as np
import torch
from keras import layers

from keras_dep.layers.encoders import DirectEncoding
from keras_dep.layers.lif import LIF
from keras_dep.layers.time_axis import UnfoldTime

FEATURES, HIDDEN, CLASSES, TIMESTEPS, BATCH = 6, 8, 3, 4, 32
NETWORKS = ("smooth", "soft", "hard")


def problem(kind):
    """`(Keras model, torch twin, x, y)` of a smooth network, or of a spiking one by its reset."""
    if kind == "smooth":
        model = _keras_network([layers.Activation("tanh")], [])
        twin = TorchNetwork(model, torch.tanh)
    else:
        lif = LIF(TIMESTEPS, tau=1.5, reset=kind, surrogate="sigmoid", width=0.25)
        model = _keras_network([DirectEncoding(TIMESTEPS), lif], [UnfoldTime(TIMESTEPS)])
        twin = TorchNetwork(model, lambda current: _spike_train(current, 1.5, kind))
    draw = np.random.default_rng(2)
    x = draw.normal(0, 1, (BATCH, FEATURES)).astype("float32")
    y = draw.integers(0, CLASSES, BATCH).astype("int32")
    with torch.no_grad():
        ours, theirs = model(x), twin(torch.tensor(x))
    ours = ours.mean(dim=1) if ours.ndim == 3 else ours
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-5)
    return model, twin, x, y


class TorchNetwork(torch.nn.Module):
    """Dense, neurons, dense: with the weights of the Keras network, to mean logits."""

    def __init__(self, model, neurons):
        super().__init__()
        weights = [torch.tensor(weight) for weight in model.get_weights()]
        self.weights = torch.nn.ParameterList(weights)
        self.neurons = neurons

    def forward(self, x):
        return self.answer(x, *self.weights)

    def answer(self, x, kernel, bias, kernel_out, bias_out):
        logits = self.neurons(x @ kernel + bias) @ kernel_out + bias_out
        return logits.mean(dim=0) if logits.ndim == 3 else logits


def _keras_network(neurons, end):
    keras.utils.set_random_seed(4)
    body = [layers.Dense(HIDDEN, kernel_initializer="he_normal"), *neurons, layers.Dense(CLASSES)]
    return keras.Sequential([keras.Input((FEATURES,)), *body, *end])


class _Spike(torch.autograd.Function):
    """Heaviside step whose derivative is that of `sigmoid(4 x)`, in both directions."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x):
        return (x >= 0).to(x.dtype)

    @staticmethod
    def setup_context(context, inputs, output):
        context.save_for_backward(*inputs)
        context.save_for_forward(*inputs)

    @staticmethod
    def backward(context, upstream):
        (x,) = context.saved_tensors
        return upstream * torch.cosh(2 * x) ** -2

    @staticmethod
    def jvp(context, tangent):
        (x,) = context.saved_tensors
        return tangent * torch.cosh(2 * x) ** -2


def _spike_train(current, tau, reset):
    membrane, spikes = torch.zeros_like(current), []
    for _ in range(TIMESTEPS):
        membrane = membrane - membrane / tau + current
        fired = _Spike.apply(membrane - 1.0)
        membrane = membrane - fired if reset == "soft" else membrane * (1 - fired)
        spikes.append(fired)
    return torch.stack(spikes)
