"""Whole networks and what they are made of against SpikingJelly's."""

import sys
import types

import keras
import numpy as np
import pytest

import keras_dep

if keras.backend.backend() != "torch":
    pytest.skip("the peer is a torch library", allow_module_level=True)

torch = pytest.importorskip("torch")
encoding = pytest.importorskip("spikingjelly.activation_based.encoding")
layer = pytest.importorskip("spikingjelly.activation_based.layer")
neuron = pytest.importorskip("spikingjelly.activation_based.neuron")

T, BATCH = 3, 4


@pytest.fixture
def sew_resnet(monkeypatch):
    """The peer's module, which asks torchvision for a function that downloads weights."""
    downloads = types.ModuleType("torchvision._internally_replaced_utils")
    downloads.load_state_dict_from_url = None
    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, downloads.__name__, downloads)
    return pytest.importorskip("spikingjelly.activation_based.model.sew_resnet")


def by_number(model, kind):
    """Layers of a kind in the order in which they were made."""
    found = [layer for layer in model.layers if isinstance(layer, kind)]
    return sorted(found, key=lambda layer: (len(layer.name), layer.name))


def test_sew_resnet18(sew_resnet):
    keras.config.set_dtype_policy("float64")
    ours = keras_dep.models.build(
        "sew_resnet18",
        input_shape=(32, 32, 3),
        num_classes=5,
        timesteps=T,
        normalization="merged",
        neuron={"tau": 2.0, "reset": "hard", "threshold": 0.5},
    )
    theirs = sew_resnet.sew_resnet18(
        num_classes=5,
        cnf="ADD",
        spiking_neuron=neuron.LIFNode,
        tau=2.0,
        v_threshold=0.5,
        v_reset=0.0,
        decay_input=False,
        step_mode="m",
    ).double()
    for module in theirs.modules():
        if hasattr(module, "step_mode"):
            module.step_mode = "m"
    theirs.eval()
    draw = np.random.default_rng(0)
    convolutions = [m for m in theirs.modules() if isinstance(m, torch.nn.Conv2d)]
    norms = [m for m in theirs.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    kinds = (keras.layers.Conv2D, keras.layers.BatchNormalization)
    for module, twin in zip(convolutions, by_number(ours, kinds[0]), strict=True):
        module.weight.data = torch.tensor(twin.get_weights()[0].transpose(3, 2, 0, 1))
    for module, twin in zip(norms, by_number(ours, kinds[1]), strict=True):
        values = draw.uniform(0.5, 1.5, (4, module.num_features))
        twin.set_weights(values)
        module.weight.data, module.bias.data = torch.tensor(values[:2])
        module.running_mean, module.running_var = torch.tensor(values[2:])
    kernel, bias = by_number(ours, keras.layers.Dense)[0].get_weights()
    x = draw.random((BATCH, 32, 32, 3))
    theirs.fc = torch.nn.Identity()
    with torch.no_grad():
        features = theirs(torch.tensor(x.transpose(0, 3, 1, 2)).repeat(T, 1, 1, 1, 1)).numpy()
        found = ours(x, training=False).numpy()
    expected = features.swapaxes(0, 1) @ kernel + bias
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_threshold_dependent_normalisation():
    x = np.random.default_rng(0).normal(1.0, 2.0, (T, BATCH, 3, 5, 6)).astype("float32")
    ours = keras_dep.layers.ThresholdDependentBatchNormalization(
        0.5, alpha=0.7, axis=1, momentum=0.9, epsilon=1e-5
    )
    theirs = layer.ThresholdDependentBatchNorm2d(0.7, 0.5, 3, momentum=0.1)
    with torch.no_grad():
        found = ours(x.reshape(-1, 3, 5, 6), training=True).numpy().reshape(x.shape)
        expected = theirs(torch.tensor(x)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_latency_encoding():
    x = np.linspace(0, 1, 256, dtype="float32")[None]
    theirs = encoding.LatencyEncoder(8, step_mode="s")
    expected = np.concatenate([theirs(torch.tensor(x)).numpy() for _ in range(8)])
    np.testing.assert_array_equal(keras_dep.LatencyEncoding(8)(x).numpy(), expected)
