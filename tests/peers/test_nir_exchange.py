"""NIR graphs of networks here, run by SpikingJelly and snnTorch; and one of theirs, run here."""

import keras
import numpy as np
import pytest

import keras_dep
from tests.interop.test_nir import draw_weights
from tests.support import families

if keras.backend.backend() != "torch":
    pytest.skip("the peers are torch libraries", allow_module_level=True)

torch = pytest.importorskip("torch")
pytest.importorskip("nirtorch")

T, BATCH = 5, 4


def run(model, x, state=None):
    """A peer's answers `(batch, T, ...)` to the same input at every step."""
    answers = []
    with torch.no_grad():
        for _ in range(T):
            answer, state = model(x, state)
            answers.append(answer)
    return torch.stack(answers, dim=1).numpy()


@pytest.mark.parametrize("name", ["vgg5", "resnet18", "vgg11_rat"])
@pytest.mark.parametrize("tau", [1.6, float("inf")])
def test_spikingjelly_runs_networks_of_here(name, tau, monkeypatch):
    exchange = pytest.importorskip("spikingjelly.activation_based.nir_exchange")
    families.narrow(monkeypatch)
    neuron = {"reset": "hard", "threshold": 0.7, "tau": tau}
    options = {"input_shape": (8, 6, 2), "num_classes": 3, "timesteps": T, "mean": 0.4, "std": 0.5}
    model = keras_dep.models.build(name, neuron=neuron, **options)
    draw_weights(model)
    x = np.random.default_rng(0).random((BATCH, 8, 6, 2)).astype("float32")
    peer = exchange.import_from_nir(keras_dep.to_nir(model))
    found = run(peer, torch.tensor(x.transpose(0, 3, 1, 2)))
    with torch.no_grad():
        expected = model(x, training=False).numpy()
    assert np.ptp(expected, axis=1).min() > 1e-2
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_network_of_spikingjelly_runs_here():
    exchange = pytest.importorskip("spikingjelly.activation_based.nir_exchange")
    from spikingjelly.activation_based import functional
    from spikingjelly.activation_based import layer
    from spikingjelly.activation_based import neuron

    torch.manual_seed(0)
    options = {"decay_input": False, "v_reset": 0.0, "v_threshold": 0.3}
    peer = torch.nn.Sequential(
        layer.Conv2d(2, 4, 3, stride=2, padding=1),
        neuron.LIFNode(tau=1.7, **options),
        layer.AvgPool2d(2, 1),
        layer.Flatten(),
        layer.Linear(8, 6),
        neuron.LIFNode(tau=2.3, decay_input=True, v_reset=0.0, v_threshold=0.1),
    )
    peer[4].weight.data.abs_()
    x = np.random.default_rng(0).random((BATCH, T, 6, 4, 2)).astype("float32")
    frames = torch.tensor(x.transpose(1, 0, 4, 2, 3))
    graph = exchange.export_to_nir(peer, frames[0])
    functional.reset_net(peer)
    with torch.no_grad():
        expected = torch.stack([peer(frame) for frame in frames], dim=1).numpy()
        found = keras_dep.from_nir(graph, T, encoder="events")(x).numpy()
    assert 0.1 < expected.mean() < 0.9
    np.testing.assert_array_equal(found, expected)


def test_snntorch_runs_a_network_of_here():
    exchange = pytest.importorskip("snntorch.import_nir")
    neuron = {"tau": 1.6, "reset": "hard"}
    body = [keras_dep.DirectEncoding(T), keras.layers.Dense(20), keras_dep.LIF(T, **neuron)]
    body += [keras.layers.Dense(9), keras_dep.LIF(T, **neuron), keras_dep.UnfoldTime(T)]
    model = keras.Sequential([keras.Input((6,)), *body])
    draw_weights(model)
    x = np.random.default_rng(0).random((BATCH, 6)).astype("float32")
    peer = exchange.import_from_nir(keras_dep.to_nir(model))
    with torch.no_grad():
        expected = model(x).numpy()
    assert 0.1 < expected.mean() < 0.9
    np.testing.assert_array_equal(run(peer, torch.tensor(x)), expected)
