"""NIR graphs: there and back, against the equations in NumPy, and what they cannot hold."""

import sys

import keras
import nir
import numpy as np
import pytest
from keras import layers
from keras import ops

import keras_dep
from keras_dep import models
from keras_dep.interop.nir import synapses
from tests.support import families

T, BATCH = 4, 3


def draw_weights(model, seed=1):
    """Weights, the same on every backend, under which every layer fires, and none always."""
    draw = np.random.default_rng(seed)
    weights = []
    for weight in model.get_weights():
        if weight.ndim > 1:
            scale = 1.5 / np.sqrt(np.prod(weight.shape[:-1]))
            weights.append(draw.normal(0.3 * scale, scale, weight.shape))
        else:
            weights.append(draw.uniform(0.2, 0.8, weight.shape))
    model.set_weights(weights)


# A SEW-ResNet's stem takes maxima.
@pytest.mark.parametrize("name", families.FAMILIES[:-1])
def test_families_there_and_back(name, monkeypatch, tmp_path):
    families.narrow(monkeypatch)
    options = {"input_shape": (8, 6, 2), "num_classes": 3, "timesteps": T, "mean": 0.4, "std": 0.5}
    neuron = {"reset": "hard", "threshold": 0.7, "tau": 1.7}
    model = models.build(name, neuron=neuron, dropout=0.3, **options)
    draw_weights(model)
    x = np.random.default_rng(0).random((BATCH, 8, 6, 2)).astype("float32")
    nir.write(tmp_path / "graph.nir", keras_dep.to_nir(model))
    back = keras_dep.from_nir(tmp_path / "graph.nir", T)
    logits = model.predict_on_batch(x)
    assert np.ptp(logits, axis=1).min() > 1e-2
    np.testing.assert_allclose(back.predict_on_batch(x), logits, atol=1e-4)
    neurons = [layer for layer in back.layers if isinstance(layer, keras_dep.LIF)]
    assert neurons and all((n.tau, n.threshold, n.reset) == (1.7, 0.7, "hard") for n in neurons)


def events_network():
    """Frames, folded normalisation of vectors, learnt neurons and both readouts' kinds."""
    inputs = keras.Input((T, 6, 4, 2))
    x = layers.Conv2D(5, 3, padding="same")(keras_dep.FoldTime(T)(inputs))
    x = keras_dep.PLIF(T, shared_by="channel", learn_threshold=True, reset="hard")(x)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2)(x)
    x = keras_dep.PLIF(T, shared_by="neuron", reset="hard", threshold=0.5)(layers.Flatten()(x))
    x = layers.BatchNormalization()(x)
    x = layers.BatchNormalization()(layers.Dense(7)(x))
    x = keras_dep.Integrator(T, 2.5)(keras_dep.IF(T, reset="hard", threshold=2.0)(x))
    return keras.Model(inputs, keras_dep.UnfoldTime(T)(layers.Dense(2, use_bias=False)(x)))


def test_learnt_constants_there_and_back():
    model = events_network()
    draw_weights(model)
    x = (np.random.default_rng(0).random((BATCH, T, 6, 4, 2)) < 0.2).astype("float32")
    back = keras_dep.from_nir(keras_dep.to_nir(model, dt=1e-3), T, dt=1e-3, encoder="events")
    logits = model.predict_on_batch(x)
    assert np.ptp(logits, axis=0).min() > 1e-2
    np.testing.assert_allclose(back.predict_on_batch(x), logits, atol=1e-4)
    kinds = [type(layer).__name__ for layer in back.layers]
    assert (kinds.count("PLIF"), kinds.count("IF"), kinds.count("Integrator")) == (2, 1, 1)


def euler(graph, currents, dt):
    """NIR's equations of single nodes in a chain, in steps of `dt`, in NumPy."""
    answers, state = [], {}
    for x in currents:
        for name, node in graph.nodes.items():
            kind = type(node).__name__
            if kind == "Conv2d":
                padded = np.pad(x, [(0, 0), (0, 0), (1, 1), (0, 0)])
                windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 1), (2, 3))
                weight = node.weight[:, 0]
                x = np.einsum("bchwij,cij->bchw", windows, weight) + node.bias[:, None, None]
            elif kind == "SumPool2d":
                x = x.reshape(*x.shape[:2], x.shape[2] // 2, 2, -1, 2).sum(axis=(3, 5))
            elif kind == "Flatten":
                x = x.reshape(len(x), -1)
            elif kind == "Linear":
                x = x @ node.weight.T
            elif kind in ("LIF", "LI", "IF", "I"):
                v = state.get(name, 0)
                slope = node.r * x if kind in ("IF", "I") else (node.r * x - v) / node.tau
                v = v + dt * slope
                x = v if kind in ("LI", "I") else (v > node.v_threshold).astype(float)
                state[name] = v if kind in ("LI", "I") else np.where(x == 1, 0, v)
        answers.append(x)
    return np.stack(answers, axis=1)


@pytest.mark.parametrize("last", ["LI", "I"])
def test_a_graph_by_hand_acts_by_its_equations(last):
    """Per-neuron constants, currents scaled by r, sums of windows, maps in NIR's order."""
    draw, dt = np.random.default_rng(0), 1e-3
    weight = draw.uniform(0, 1, (2, 1, 3, 1)).astype("float32")
    every = np.ones(5, "float32")
    nodes = {
        "input": nir.Input(np.array([2, 4, 6])),
        "convolution": nir.Conv2d((4, 6), weight, 1, (1, 0), 1, 2, draw.random(2)),
        "sum": nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        "neurons": nir.IF(np.full((2, 2, 3), 500.0), np.full((2, 2, 3), 2.3)),
        "flatten": nir.Flatten(np.array([2, 2, 3]), start_dim=0, end_dim=-1),
        "linear": nir.Linear(draw.uniform(0, 1, (5, 12)).astype("float32")),
        "leaky": nir.LIF(draw.uniform(2e-3, 9e-3, 5), 0 * every, 0 * every, every),
        "readout": nir.I(40 * every) if last == "I" else nir.LI(5e-3 * every, every, 0 * every),
        "output": nir.Output(np.array([5])),
    }
    # What a step adds to the potential is one factor for all, though every tau is its own.
    nodes["leaky"].r = 300.0 * nodes["leaky"].tau
    # The package's own check knows no groups.
    graph = nir.NIRGraph(nodes, list(zip(nodes, list(nodes)[1:])), type_check=False)
    model = keras_dep.from_nir(graph, T, dt=dt, encoder="events", surrogate="arctan")
    x = draw.random((BATCH, T, 4, 6, 2)).astype("float32")
    expected = euler(graph, np.moveaxis(x.astype("float64"), (1, 4), (0, 2)), dt)
    assert np.ptp(expected, axis=(0, 1)).min() > 1e-2
    np.testing.assert_allclose(model.predict_on_batch(x), expected, atol=1e-4)
    assert {layer.surrogate for layer in model.layers if isinstance(layer, keras_dep.LIF)} == {
        "arctan"
    }
    assert "DepthwiseConv2D" in [type(layer).__name__ for layer in model.layers]


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_padding_by_name(padding, tmp_path):
    weight, bias = np.ones((3, 2, 3, 3), "float32"), np.zeros(3, "float32")
    node = nir.Conv2d((4, 6), weight, 1, padding, 1, 1, bias)
    nir.write(tmp_path / "graph.nir", nir.NIRGraph.from_list(node))
    model = keras_dep.from_nir(tmp_path / "graph.nir", T)
    assert model.output_shape == (None, T, *((4, 6) if padding == "same" else (2, 4)), 3)


def chain(*body, shape=(6, 6, 2)):
    return keras.Sequential([keras.Input(shape), *body])


@pytest.mark.parametrize(
    "layer, message",
    [
        (keras_dep.LIF(T, name="n"), "layer 'n' must reset hard; received LIF; NIR has no reset"),
        (layers.ReLU(name="n"), "layer 'n' must be of a kind that NIR can hold; received ReLU"),
        (layers.MaxPooling2D(name="n"), "layer 'n' must be of a kind that NIR.*MaxPooling2D"),
        (layers.Conv2D(2, 3, activation="relu", name="n"), "layer 'n' must be linear; received"),
        (layers.Conv2D(2, 2, padding="same", name="n"), "layer 'n' must be padded evenly"),
        (
            layers.Conv2D(2, (1, 3), name="n"),
            "layer 'n' must have a square window; .* Conv2D",
        ),
        (layers.AveragePooling2D(3, 1, "same", name="n"), "layer 'n' must average whole windows"),
        (layers.Rescaling(1.0, 0.5, name="n"), "layer 'n' must scale by one number"),
        (layers.Dense(3, name="n"), "layer 'n' must act on vectors; received Dense; flatten"),
        (layers.Flatten(), r"model must not end in a flattened map; received \(2, 6, 6\)"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_nir_cannot_hold(layer, message):
    with pytest.raises(ValueError, match=message) as caught:
        keras_dep.to_nir(chain(layer))
    assert "\n" not in str(caught.value)


def neuron_graph(kind, **options):
    constants = {name: np.full(3, value, "float32") for name, value in options.items()}
    return nir.NIRGraph.from_list(kind(**constants))


@pytest.mark.parametrize(
    "graph, message",
    [
        (
            neuron_graph(nir.LIF, tau=1e-3, r=10, v_leak=0, v_threshold=1, v_reset=0.1),
            "node 'lif' must rest and reset at 0; received LIF",
        ),
        (neuron_graph(nir.LI, tau=1e-3, r=10, v_leak=1), "node 'li' must rest at 0"),
        (
            neuron_graph(nir.LI, tau=5e-5, r=1, v_leak=0),
            "node 'li' must have no tau below dt=0.0001; received LI",
        ),
        (
            neuron_graph(nir.IF, r=1e4, v_threshold=-1, v_reset=0),
            "node 'if' must have positive and finite thresholds; received IF",
        ),
        (
            nir.NIRGraph(
                {
                    "in": nir.Input(np.array([2])),
                    "a": nir.Linear(np.eye(2)),
                    "out": nir.Output(np.array([2])),
                },
                [("in", "out"), ("a", "out")],
                type_check=False,
            ),
            "node 'a' must be fed by another node; received Linear",
        ),
        (
            neuron_graph(nir.CubaLI, tau_syn=1, tau_mem=1, r=1, v_leak=0),
            "node 'cubali' must be one of Input, Output, Conv2d.*; received CubaLI",
        ),
        (
            nir.NIRGraph.from_list(nir.I(r=np.arange(3.0))),
            "node 'i' must have one r for all of its neurons; received I",
        ),
        (
            nir.NIRGraph.from_list(nir.Scale(np.arange(3.0))),
            "node 'scale' must scale by one number",
        ),
        (
            nir.NIRGraph(
                {
                    "in": nir.Input(np.array([2])),
                    "a": nir.Linear(np.eye(2)),
                    "b": nir.Linear(np.eye(2)),
                    "out": nir.Output(np.array([2])),
                },
                [("in", "a"), ("a", "b"), ("b", "a"), ("b", "out")],
            ),
            "node '[ab]' must not feed itself; received Linear",
        ),
    ],
)
def test_what_has_no_counterpart_here(graph, message):
    with pytest.raises(ValueError, match=message) as caught:
        keras_dep.from_nir(graph, T)
    assert "\n" not in str(caught.value)


def test_bad_input(monkeypatch):
    class Subclassed(keras.Model):
        pass

    model = chain(keras_dep.IF(T, reset="hard"))
    with pytest.raises(ValueError, match="model must be a functional or sequential.*Subclassed"):
        keras_dep.to_nir(Subclassed())
    with pytest.raises(ValueError, match="dt must be positive and finite; received 0"):
        keras_dep.to_nir(model, dt=0)
    with pytest.raises(ValueError, match="encoder must be one of direct, rate, .*; received 'x'"):
        keras_dep.from_nir(keras_dep.to_nir(model), T, encoder="x")
    with pytest.raises(TypeError, match="unexpected keyword argument 'reset'"):
        keras_dep.from_nir(keras_dep.to_nir(model), T, reset="soft")
    monkeypatch.setitem(sys.modules, "nir", None)
    with pytest.raises(ImportError, match="package nir must be installed.*; pip install nir"):
        keras_dep.to_nir(model)


def quantised_network(use_bias):
    body = [
        keras_dep.DirectEncoding(T),
        layers.Dense(6, use_bias=use_bias, name="hidden"),
        keras_dep.LIF(T, reset="hard", threshold=0.3),
        layers.Dense(3, name="readout"),
        keras_dep.UnfoldTime(T),
    ]
    model = keras.Sequential([keras.Input((5,)), *body])
    draw_weights(model)
    return model


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize`")
# Those quantised from a kernel with adapters merge them.
@pytest.mark.parametrize("mode", ["int8", "int4", "float8", "lora", "lora int8"])
@pytest.mark.parametrize("use_bias", [True, False])
def test_weights_are_those_that_codes_stand_for(mode, use_bias, monkeypatch):
    monkeypatch.setattr(synapses, "ROWS", 2)
    model = quantised_network(use_bias)
    hidden = model.get_layer("hidden")
    if mode.startswith("lora"):
        hidden.enable_lora(2)
        draw = np.random.default_rng(1)
        for adapter in (hidden.lora_kernel_a, hidden.lora_kernel_b):
            adapter.assign(draw.normal(0, 0.5, adapter.shape))
    whole = keras_dep.to_nir(model).nodes["hidden"].weight
    if mode != "lora":
        model.quantize(mode.split()[-1])
    graph = keras_dep.to_nir(model)
    weight = graph.nodes["hidden"].weight
    step = {"int4": 1 / 7, "float8": 1 / 16}.get(mode, 1 / 127) * np.abs(whole).max()
    np.testing.assert_allclose(weight, whole, atol=step)
    # The layer's own answers to spikes, which no code rounds.
    spikes = np.random.default_rng(0).integers(0, 2, (8, 5)).astype("float32")
    answers = ops.convert_to_numpy(ops.stop_gradient(hidden(spikes)))
    bias = graph.nodes["hidden"].bias if use_bias else 0
    # Keras adds up products of float8 in bfloat16.
    rounding = 2**-8 * np.abs(answers).max() if mode == "float8" else 1e-5
    np.testing.assert_allclose(spikes @ weight.T + bias, answers, rtol=0, atol=rounding)
    if mode != "float8":
        logits = keras_dep.from_nir(graph, T).predict_on_batch(spikes)
        np.testing.assert_allclose(logits, model.predict_on_batch(spikes), atol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_constants_of_torch(dtype):
    torch = pytest.importorskip("torch")

    def learnt(*shape):
        values = torch.rand(shape, generator=torch.Generator().manual_seed(0)) + 0.5
        return torch.nn.Parameter(values.to(getattr(torch, dtype)))

    def number(value):
        return torch.full((2,), value)

    weight, bias, thresholds = learnt(2, 3), learnt(2), learnt(2)
    scale = torch.nn.Parameter(number(2.0))
    neurons = nir.LIF(
        tau=number(2e-4),
        r=number(2.0),
        v_leak=number(0.0),
        v_threshold=thresholds,
        v_reset=number(0.0),
    )
    graph = nir.NIRGraph.from_list(nir.Affine(weight, bias), nir.Scale(scale), neurons)
    model = keras_dep.from_nir(graph, T)
    kernel, offset, leak, log_threshold = model.get_weights()
    plain = [tensor.detach().float().numpy() for tensor in (weight, bias, thresholds)]
    np.testing.assert_array_equal(kernel, plain[0].T)
    np.testing.assert_array_equal(offset, plain[1])
    np.testing.assert_allclose(leak, 0.0, atol=1e-6)
    np.testing.assert_allclose(np.exp(log_threshold), plain[2], rtol=1e-6)
    assert [layer.scale for layer in model.layers if hasattr(layer, "scale")] == [2.0]
    assert graph.nodes["affine"].weight is weight
    # And those of the framework at hand.
    graph = nir.NIRGraph.from_list(nir.Linear(ops.convert_to_tensor(plain[0])))
    np.testing.assert_array_equal(keras_dep.from_nir(graph, T).get_weights()[0], plain[0].T)
