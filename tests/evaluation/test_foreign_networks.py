"""Networks that are not built of our layers: what no attack reaches is said, whatever it gives."""

import json

import keras
import numpy as np
import pytest

from keras_dep import LIF
from keras_dep import PLIF
from keras_dep import DirectEncoding
from keras_dep import evaluate
from keras_dep.attacks import FGSM
from keras_dep.evaluation import checklist
from keras_dep.evaluation import checklist_table
from keras_dep.evaluation import coverage
from keras_dep.evaluation import gradient_health
from keras_dep.evaluation import report
from keras_dep.evaluation import suites
from keras_dep.evaluation import summary
from keras_dep.layers import SpikingLayer
from keras_dep.layers.stepwise_lif import StepwiseLIF
from keras_dep.surrogates import spike

SIDE, CLASSES = 3, 3
DERIVED = {"apgd-triangle-100", "apgd-arctan-100"}
RULES = {"apgd-hart-100", "apgd-conversion-100", "sapgd-assg-0.85-100"}


class Firing(keras.layers.Layer):
    """Spikes by a rule that only its author knows."""

    def call(self, inputs):
        return keras.ops.cast(inputs > 0, inputs.dtype) + 0 * inputs


class WithAttributes(Firing):
    surrogate, width = "triangle", 1.0


class WithSurrogate(SpikingLayer):
    def __init__(self, timesteps=1, **options):
        super().__init__(timesteps, **options)

    def call(self, inputs):
        return Firing.call(self, inputs)


class OwnCall(keras.Model):
    def __init__(self):
        super().__init__()
        self.body = [keras.layers.Flatten(), keras.layers.Dense(CLASSES)]

    def call(self, inputs):
        for layer in self.body:
            inputs = layer(inputs)
        return inputs


class OwnName(keras.layers.Dense):
    """What it computes is Keras'."""


def network(*body):
    inputs = [keras.Input((SIDE, SIDE, 1)), keras.layers.Flatten()]
    return keras.Sequential([*inputs, *body, keras.layers.Dense(CLASSES, name="head")])


def shifted(inputs):
    return inputs - 0.5


def data(count=8):
    draw = np.random.default_rng(0)
    return draw.random((count, SIDE, SIDE, 1), "float32"), draw.integers(0, CLASSES, count)


@pytest.mark.parametrize(
    "body, unknown",
    [
        ([keras.layers.Dense(4, "relu"), keras.layers.LayerNormalization()], []),
        ([OwnName(4)], []),
        ([keras.layers.Dense(4), DirectEncoding(1), LIF(1)], []),
        ([Firing()], ["Firing"]),
        ([keras.layers.Lambda(shifted)], ["Lambda"]),
        ([keras.layers.Dense(4, activation=shifted)], ["Dense with activation shifted"]),
        ([WithSurrogate()], []),
        ([WithAttributes()], ["WithAttributes"]),
        ([keras.layers.Dense(4, activation=keras.layers.ReLU())], []),
        ([keras.layers.Dense(4, activation=keras.ops.sign)], ["Dense with activation sign"]),
        ([keras.layers.Activation(spike)], ["Activation with activation spike"]),
        ([keras.layers.Dense(4, activation=Firing())], ["Firing"]),
        ([keras.layers.Discretization([0.5], dtype="float32")], ["Discretization"]),
    ],
    ids=[
        *("plain", "renamed", "ours", "custom", "lambda", "activation", "surrogate", "attributes"),
        *("layer", "step", "function", "custom_activation", "bins"),
    ],
)
def test_unknown_layers(body, unknown):
    assert coverage.unknown_layers(network(*body)) == unknown
    nested = keras.Sequential([keras.Input((SIDE, SIDE, 1)), network(*body)])
    assert coverage.unknown_layers(nested) == unknown


def test_operations_of_a_graph_are_known_unless_they_are_steps():
    image = keras.Input((4,))
    hidden = keras.layers.Dense(4, "relu")(image)
    smooth = keras.ops.tanh(hidden) + keras.ops.mean(hidden, axis=1, keepdims=True)
    assert coverage.unknown_layers(keras.Model(image, smooth)) == []
    steps = keras.ops.cast(hidden > 1, "float32") + keras.ops.floor(hidden)
    firing = keras.Model(image, keras.layers.Dense(2)(steps))
    assert coverage.unknown_layers(firing) == ["Floor", "Greater"]
    nested = keras.Sequential([keras.Input((4,)), firing])
    assert coverage.unknown_layers(nested) == ["Floor", "Greater"]
    (left,) = suites.left_out("reliable", nested)
    assert DERIVED | RULES <= set(left["attacks"]) and "Floor, Greater may hold" in left["reason"]


class Rectifying(LIF):
    """Its own `call` ignores what an attack sets."""

    def call(self, inputs):
        return keras.ops.relu(inputs)


class Declared(LIF):
    takes_estimator = True

    def call(self, inputs):
        return super().call(inputs)


def test_a_neuron_with_a_call_of_its_own_takes_no_estimator_unless_it_says_so():
    (left,) = suites.left_out("reliable", network(DirectEncoding(1), Rectifying(1)))
    assert RULES <= set(left["attacks"]) and left["reason"].startswith("Rectifying takes no rule")
    for known in (Declared, StepwiseLIF, PLIF):
        assert suites.left_out("reliable", network(DirectEncoding(1), known(1))) == []


def test_a_layer_of_this_package_names_what_it_did_not_understand(monkeypatch):
    layer = DirectEncoding(1)
    monkeypatch.setattr(DirectEncoding, "unknown_parts", ("Izhikevich",), raising=False)
    model = network(layer, LIF(1))
    assert coverage.unknown_layers(model) == ["Izhikevich"]
    assert "reach the other layers alone" in suites.left_out("reliable", model)[0]["reason"]
    monkeypatch.setattr(WithAttributes, "unknown_parts", (), raising=False)
    assert coverage.unknown_layers(network(WithAttributes())) == ["WithAttributes"]


def test_a_wrapped_module_is_unknown():
    if keras.backend.backend() != "torch":
        pytest.skip("modules of torch are wrapped on torch alone")
    import torch

    model = network(keras.layers.TorchModuleWrapper(torch.nn.Linear(9, 4)))
    assert coverage.unknown_layers(model) == ["TorchModuleWrapper"]
    assert suites.left_out("reliable", model)[0]["reason"].startswith("TorchModuleWrapper may hold")


def test_a_network_with_a_call_of_its_own_is_unknown_and_evaluated():
    x, y = data()
    model = OwnCall()
    model(x)
    assert coverage.unknown_layers(model) == ["OwnCall"]
    found = evaluate(model, x, y[:, None], "paper", epsilon=0.1, verbose=0)
    inputs = keras.Input(x.shape[1:])
    twin = keras.Model(inputs, model.body[1](model.body[0](inputs)))
    expected = evaluate(twin, x, y, "paper", epsilon=0.1, verbose=0)
    assert found["worst_case"] == expected["worst_case"]
    assert found["protocol"]["unknown_layers"] == ["OwnCall"]


def reliable(model, **options):
    """A reliable evaluation at a radius where little stands: the rest has nothing to attack."""
    x, _ = data()
    y = model.predict_on_batch(x)
    y = (y.mean(axis=1) if y.ndim == 3 else y).argmax(axis=1)
    return evaluate(model, x, y, "reliable", epsilon=1.0, **options)


def test_what_is_left_out_is_said_in_result_table_and_output(capsys, tmp_path):
    path = tmp_path / "evaluation.json"
    model = network(Firing())
    found = reliable(model, file=path, verbose=1)
    (left,) = found["left_out"]
    assert not found["reliable"] and left["reason"].startswith("Firing may hold spikes")
    names = {row["attack"] for row in found["attacks"]}
    assert DERIVED | RULES <= set(left["attacks"]) and not names & set(left["attacks"])
    text = report.markdown(found)
    assert "**Not called reliable**: Firing may hold spikes" in text and "apgd-hart-100" in text
    assert "| **worst case per image** (not called reliable) | **" in text
    assert "not called reliable, left out apgd-" in capsys.readouterr().out
    assert summary(found)["left_out"] == found["left_out"] and not summary(found)["reliable"]
    assert json.loads(path.read_text())["left_out"] == found["left_out"]
    assert "unknown" in found["protocol"]["state"]


def test_nothing_is_left_out_of_networks_that_are_known():
    plain = reliable(network(keras.layers.Dense(4, "relu")), verbose=0)
    assert plain["reliable"] and plain["left_out"] == []
    assert "Not called reliable" not in report.markdown(plain)
    ours = network(keras.layers.Dense(4), DirectEncoding(1), LIF(1))
    assert suites.left_out("reliable", ours) == []
    for suite in ("quick", "paper"):
        assert suites.left_out(suite, network(Firing())) == []
    quick = evaluate(ours, *data(), {"fgsm": FGSM(epsilon=0.1)}, verbose=0)
    assert not quick["reliable"] and quick["left_out"] == []


def test_layers_that_know_surrogates_alone_and_networks_of_both_kinds():
    (left,) = suites.left_out("reliable", network(WithSurrogate()))
    assert RULES <= set(left["attacks"]) and not DERIVED & set(left["attacks"])
    assert left["reason"] == "WithSurrogate takes no rule for its spikes but a surrogate"
    built = suites.build("reliable", classes=CLASSES, estimators=False)
    assert set(built) >= DERIVED and not set(built) & RULES
    both = network(keras.layers.Dense(4), DirectEncoding(1), LIF(1), Firing())
    (left,) = suites.left_out("reliable", both)
    assert DERIVED | RULES <= set(left["attacks"])
    assert left["reason"].endswith("these reach the other layers alone")


def test_the_checklist_says_what_it_left_out():
    x, y = data()
    few = dict(steps=2, restarts=1, queries=2, draws=2, checks=(8, 10, 14))
    rows = checklist(network(Firing()), x, y, **few)
    assert [row["passed"] for row in rows] == [None] * 3
    assert all(row["measured"]["left_out"].startswith("Firing may") for row in rows)
    assert checklist_table(rows).count("**left out**") == 3
    rows = checklist(network(keras.layers.Dense(4, "relu")), x, y, **few)
    assert [row["measured"] for row in rows] == [{"neurons": "none"}] * 3
    assert checklist_table(rows).count("not applicable") == 3
    both = network(keras.layers.Dense(4), DirectEncoding(1), LIF(1), Firing())
    rows = checklist(both, x, y, **few)
    assert not any(row["passed"] for row in rows)
    assert all("left_out" in row["measured"] for row in rows)


@pytest.mark.parametrize("dtype", ["bfloat16", "mixed_bfloat16", "float32"])
def test_the_protocol_is_of_the_model_not_of_the_process(dtype):
    keras.mixed_precision.set_dtype_policy(dtype)
    model = keras.Sequential(
        [
            keras.Input((2, SIDE, SIDE)),
            # TensorFlow has no such convolution of bfloat16 on a processor without AVX-512.
            keras.layers.GlobalAveragePooling2D(data_format="channels_first"),
            keras.layers.Dense(4),
            keras.layers.Dense(CLASSES, dtype="float32"),
        ]
    )
    keras.mixed_precision.set_dtype_policy("float32")
    x = np.random.default_rng(0).random((4, 2, SIDE, SIDE), "float32")
    found = evaluate(model, x, np.zeros(4, int), {"fgsm": FGSM(epsilon=0.1)}, verbose=0)
    protocol = found["protocol"]
    assert protocol["dtype_policy"] == ", ".join(sorted({dtype, "float32"}))
    kept = {"bfloat16", "float32"} if dtype == "bfloat16" else {"float32"}
    assert protocol["weight_dtype"] == ", ".join(sorted(kept))
    assert protocol["data_format"] == "channels_first"
    half = dtype != "float32"
    assert ("zero_pixels_in_float32" in found["gradients"]) == half
    assert ("half precision" in report.markdown(found)) == half


def sure(dtype):
    """Sure of class 0 by 40, which a change of 0.1 of all pixels turns into -20.

    In half precision the other class has probability 0, and the cross-entropy no gradient.
    """
    body = [keras.Input((SIDE, SIDE, 1)), keras.layers.Flatten(dtype=dtype)]
    model = keras.Sequential([*body, keras.layers.Dense(2, dtype=dtype)])
    kernel = np.zeros((SIDE**2, 2))
    kernel[:, 1] = -600 / SIDE**2
    model.set_weights([kernel, np.array([0, 300 - 40])])
    return model


def grey(count=40):
    draw = np.random.default_rng(0)
    return draw.uniform(0.4995, 0.5005, (count, SIDE, SIDE, 1)).astype("float32")


def test_gradients_that_rounding_hides_are_shown_by_a_copy_in_float32():
    x, y = grey(), np.zeros(40, int)
    half, single = (gradient_health(sure(dtype), x, y) for dtype in ("float16", "float32"))
    assert half["zero_images"] == half["zero_pixels"] == 1 and single["zero_images"] == 0
    assert half["zero_pixels_in_float32"] == half["zero_images_in_float32"] == 0
    assert "zero_images_in_float32" not in single


def test_the_checklist_compares_half_precision_with_its_copy():
    x, y = grey(), np.zeros(40, int)
    few = dict(steps=4, restarts=1, checks=[16], epsilon=0.1)
    (row,) = checklist(sure("float32"), x, y, **few)
    assert row["passed"] is None and row["measured"] == {"precision": "single"}
    (row,) = checklist(sure("float16"), x, y, **few)
    assert row["measured"]["white_box"] > 0.5 and row["measured"]["float32_copy"] == 0
    assert row["passed"] is False
