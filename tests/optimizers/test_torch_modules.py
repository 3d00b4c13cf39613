"""Parameters of torch modules are folded by what torch's layers hold in which axis."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_dep import DEP
from tests.optimizers.test_roles import rest_and_share

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.skipif(keras.backend.backend() != "torch", reason="concerns torch")
nn = torch.nn

FIRST = {rank: (tuple(range(1, rank)), (0,)) for rank in (2, 3, 4, 5)}
SECOND = {rank: ((0, *range(2, rank)), (1,)) for rank in (3, 4, 5)}
ROWS = ((0,), (1,))
RECURRENT = [FIRST[2], FIRST[2], None, None]


class Patches(nn.Module):
    """A user's own: a kernel as torch holds them, a token, and a bias."""

    def __init__(self):
        super().__init__()
        self.kernel = nn.Parameter(torch.zeros(5, 3, 4))
        self.token = nn.Parameter(torch.zeros(1, 1, 6))
        self.shift = nn.Parameter(torch.zeros(6))


class Convolution(nn.Conv2d):
    """As libraries of spiking networks have it."""


def cases():
    """Modules, and of each parameter the axes of inputs and outputs; `None`: left alone."""
    yield nn.Linear(6, 5), [FIRST[2], None]
    yield nn.Bilinear(3, 4, 5), [FIRST[3], None]
    yield nn.Conv1d(4, 5, 3), [FIRST[3], None]
    yield Convolution(4, 6, 3, groups=2), [FIRST[4], None]
    yield nn.Conv3d(3, 4, 2), [FIRST[5], None]
    yield nn.ConvTranspose1d(4, 5, 3), [SECOND[3], None]
    yield nn.ConvTranspose2d(4, 5, 3), [SECOND[4], None]
    yield nn.ConvTranspose3d(3, 4, 2), [SECOND[5], None]
    # Of as many groups as channels both first axes count outputs.
    yield nn.ConvTranspose2d(4, 8, 3, groups=4), [((2, 3), (0, 1)), None]
    yield nn.GRU(4, 5), RECURRENT
    yield nn.LSTM(4, 5, proj_size=3), [*RECURRENT, FIRST[2]]
    yield nn.RNNCell(4, 5), RECURRENT
    attention = nn.MultiheadAttention(6, 2, add_bias_kv=True)
    # In its order: in_proj_weight, in_proj_bias, bias_k, bias_v, then those of the outputs.
    yield attention, [FIRST[2], None, None, None, FIRST[2], None]
    yield nn.Embedding(7, 4), [ROWS]
    yield nn.LayerNorm((4, 5)), [None, None]
    yield nn.RMSNorm((4, 5)), [None]
    yield nn.BatchNorm2d(4), [None, None]
    yield nn.utils.parametrizations.weight_norm(nn.Conv1d(4, 5, 3)), [None, None, FIRST[3]]
    yield nn.utils.parametrizations.spectral_norm(nn.Linear(6, 5)), [None, FIRST[2]]
    yield Patches(), [FIRST[3], None, None]


def test_every_parameter_loses_the_leading_component_of_its_own_matrix():
    draw = np.random.default_rng(0)
    modules, axes = zip(*cases())
    wrapped = keras.layers.TorchModuleWrapper(nn.Sequential(*modules))
    wanted = [fold for each in axes for fold in each]
    weights = wrapped.trainable_weights
    assert len(weights) == len(wanted)
    before = [ops.convert_to_numpy(weight).copy() for weight in weights]
    gradients = [draw.standard_normal(weight.shape).astype("float32") for weight in weights]
    optimizer = DEP(keras.optimizers.SGD(1.0))
    with pytest.warns(UserWarning, match="with a side of 1 or 2"):
        optimizer.apply([ops.convert_to_tensor(gradient) for gradient in gradients], weights)
    for entry, fold, weight, old, gradient in zip(
        optimizer._entries, wanted, weights, before, gradients
    ):
        expected = gradient if fold is None else rest_and_share(gradient, fold)[0]
        error = np.linalg.norm(old - ops.convert_to_numpy(weight) - expected)
        assert error <= 1e-5 * np.linalg.norm(gradient), entry
        assert entry.projected == (fold is not None)


def test_groups_of_a_transposed_convolution_are_told_apart():
    module = nn.ConvTranspose2d(6, 4, 3, groups=2, bias=False)
    gradient = np.random.default_rng(0).standard_normal((6, 2, 3, 3)).astype("float32")
    before = module.weight.detach().numpy().copy()
    weights = keras.layers.TorchModuleWrapper(module).trainable_weights
    DEP(keras.optimizers.SGD(1.0)).apply([ops.convert_to_tensor(gradient)], weights)
    # Two groups of three inputs with two outputs each.
    expected, _ = rest_and_share(gradient.reshape(2, 3, 2, 3, 3), ((1, 3, 4), (0, 2)))
    step = before - module.weight.detach().numpy()
    np.testing.assert_allclose(step, expected.reshape(6, 2, 3, 3), atol=1e-5)


def test_a_module_inside_a_model_is_folded_outputs_first_in_fit():
    draw = np.random.default_rng(0)
    x = draw.standard_normal((6, 3, 5, 5)).astype("float32")
    y = draw.standard_normal((6, 4, 3, 3)).astype("float32")
    convolution = nn.Conv2d(3, 4, 3)
    model = keras.Sequential([keras.layers.TorchModuleWrapper(convolution, output_shape=y.shape)])
    before = convolution.weight.detach().numpy().copy()
    loss = ((torch.tensor(y) - convolution(torch.tensor(x))) ** 2).mean()
    gradient = torch.autograd.grad(loss, convolution.weight)[0].numpy()
    model.compile(DEP(keras.optimizers.SGD(1.0)), "mse")
    model.train_on_batch(x, y)
    step = before - convolution.weight.detach().numpy()
    expected, _ = rest_and_share(gradient, FIRST[4])
    assert np.linalg.norm(step - expected) <= 1e-5 * np.linalg.norm(gradient)


def pair(rate=0.05):
    """A network in Keras' layout and the same in torch's, compiled with DEP."""
    layers = keras.layers
    ours = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(6, 3, padding="same"),
            layers.BatchNormalization(),
            layers.Activation("tanh"),
            layers.Conv2D(6, 3, groups=3),
            layers.DepthwiseConv2D(3, activation="tanh"),
            layers.Conv2DTranspose(4, 3),
            layers.GlobalAveragePooling2D(),
            layers.Dense(5, activation="tanh"),
            layers.Dense(4),
        ]
    )
    module = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding="same"),
        nn.BatchNorm2d(6, eps=1e-3),
        nn.Tanh(),
        nn.Conv2d(6, 6, 3, groups=3),
        nn.Conv2d(6, 6, 3, groups=6),
        nn.Tanh(),
        nn.ConvTranspose2d(6, 4, 3),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 5),
        nn.Tanh(),
        nn.Linear(5, 4),
    )
    wrapper = layers.TorchModuleWrapper(module, output_shape=(None, 4))
    theirs = keras.Sequential([keras.Input((3, 8, 8)), wrapper])
    for network in (ours, theirs):
        optimizer = DEP(keras.optimizers.SGD(rate, momentum=0.9))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        network.compile(optimizer, loss)
    return ours, theirs, module


def in_torchs_layout(model):
    """The trainable weights of the network in Keras' layout, as the module holds them."""
    for layer in model.layers:
        for weight in layer.trainable_weights:
            value = ops.convert_to_numpy(weight)
            if isinstance(layer, keras.layers.DepthwiseConv2D) and value.ndim == 4:
                yield value.transpose(2, 3, 0, 1).reshape(-1, 1, *value.shape[:2])
            elif value.ndim == 4:
                yield value.transpose(3, 2, 0, 1)
            else:
                yield value.T


def test_a_module_is_trained_as_the_network_in_keras_layout():
    keras.config.set_dtype_policy("float64")
    ours, theirs, module = pair()
    module.double()
    parameters = list(module.parameters())
    for parameter, value in zip(parameters, in_torchs_layout(ours), strict=True):
        parameter.data.copy_(torch.tensor(value))
    draw = np.random.default_rng(0)
    for _ in range(4):
        x, y = draw.normal(size=(16, 8, 8, 3)), draw.integers(0, 4, 16)
        ours.train_on_batch(x, y)
        theirs.train_on_batch(x.transpose(0, 3, 1, 2), y)
    assert [entry.matrix for entry in theirs.optimizer._entries] == [
        entry.matrix for entry in ours.optimizer._entries
    ]
    assert len(theirs.optimizer.projected_paths) == 6
    for parameter, value in zip(parameters, in_torchs_layout(ours), strict=True):
        np.testing.assert_allclose(parameter.detach().numpy(), value, rtol=0, atol=1e-6)
