"""Every family through `models.build`: a trained step, saving, frames, the ANN counterpart."""

import itertools
import json

import keras
import numpy as np
import pytest
from keras import ops

import keras_dep
from keras_dep import models
from keras_dep.layers import pooling
from keras_dep.models import nf_resnet
from keras_dep.models import resnet
from keras_dep.models import vgg
from tests.support import families
from tests.support.families import FAMILIES

SIZE, CLASSES, T = 8, 3, 2


@pytest.fixture
def narrow(monkeypatch):
    families.narrow(monkeypatch)


def build(name, **options):
    neuron = {"threshold": 0.2}
    defaults = {"input_shape": (SIZE, SIZE, 2), "num_classes": CLASSES, "timesteps": T}
    return models.build(name, **{"neuron": neuron, **defaults, **options})


def images(*leading):
    return np.random.default_rng(0).random((*leading, SIZE, SIZE, 2)).astype("float32")


def values(tensor):
    return ops.convert_to_numpy(ops.stop_gradient(tensor))


def moved_by_a_step(model, **compiling):
    """Which weights one training step changes."""
    optimizer, loss = keras.optimizers.SGD(0.1), keras_dep.MeanLogitCrossentropy()
    model.compile(optimizer, loss, **compiling)
    before = model.get_weights()
    model.train_on_batch(images(6), np.arange(6) % CLASSES)
    return np.array([(one != other).any() for one, other in zip(before, model.get_weights())])


def assert_survives_saving(model, folder):
    model.save(folder / "model.keras")
    loaded = keras.saving.load_model(folder / "model.keras")
    np.testing.assert_array_equal(values(model(images(2))), values(loaded(images(2))))
    # Weights after silent neurons do not affect the logits.
    for one, other in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["vgg11_rat", "nf_resnet18", "wrn16_4", "sew_resnet18"])
def test_trains_a_step_and_survives_saving(name, narrow, tmp_path):
    moved = moved_by_a_step(model := build(name))
    # Blocks that start as their shortcut and a head that starts at 0: only these move at first.
    assert moved.any() if name == "nf_resnet18" else moved.mean() > 0.9
    assert_survives_saving(model, tmp_path)


OTHERS = ("vgg11", "vgg13", "vgg16", "resnet34", "nf_resnet34")


def test_every_name_trains_here_or_in_its_own_file():
    assert {*FAMILIES, *OTHERS} == set(models.names())


@pytest.mark.parametrize("name", OTHERS)
def test_deep_networks_train_a_step_and_survive_saving(name, monkeypatch, tmp_path):
    """All of their layers, few of their channels; eagerly, since compiling takes longer."""
    if name in vgg.STAGES:
        few = tuple(stage if stage == "M" else 3 for stage in vgg.STAGES[name])
        monkeypatch.setitem(vgg.STAGES, name, few)
    for module in (resnet, nf_resnet):
        monkeypatch.setattr(module, "WIDTHS", (3, 3, 3, 3))
    model = build(name, timesteps=1)
    moved = moved_by_a_step(model, run_eagerly=True, jit_compile=False)
    # With so few channels a layer may have no spike.
    assert moved.any() if name == "nf_resnet34" else moved.mean() > 0.5
    assert_survives_saving(model, tmp_path)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_ann_counterpart_has_the_same_weights_and_no_spikes(name, narrow):
    spiking, counterpart = build(name), build(name, spiking=False)
    assert [w.shape for w in counterpart.get_weights()] == [w.shape for w in spiking.get_weights()]
    assert [w.name for w in counterpart.weights] == [w.name for w in spiking.weights]
    spiking_layers = [layer for layer in spiking.layers if isinstance(layer, keras_dep.LIF)]
    rectifiers = [layer for layer in counterpart.layers if isinstance(layer, keras.layers.ReLU)]
    assert len(rectifiers) == len(spiking_layers)
    assert not any(isinstance(layer, keras_dep.LIF) for layer in counterpart.layers)
    assert counterpart.output_shape == (None, 1, CLASSES)


def test_the_ann_counterpart_is_the_network_of_rectifiers(narrow):
    counterpart = build("vgg5", spiking=False)
    draw = np.random.default_rng(1)
    weights = [
        draw.uniform(0.1, 1.0, w.shape) - 0.4 * (w.ndim > 1) for w in counterpart.get_weights()
    ]
    counterpart.set_weights(weights)
    x, place = images(3), 0
    for stage in (4, "M", 6, 6, "M"):
        if stage == "M":
            x = x.reshape(3, len(x[0]) // 2, 2, -1, 2, x.shape[-1]).mean(axis=(2, 4))
            continue
        kernel, bias, gamma, beta, mean, variance = weights[place : place + 6]
        place += 6
        x = values(ops.conv(x, kernel.astype("float32"), padding="same")) + bias
        x = np.maximum((x - mean) / np.sqrt(variance + 1e-5) * gamma + beta, 0).astype("float32")
    x = values(pooling.PooledTo(7)(x)).reshape(3, -1)
    expected = x @ weights[-2] + weights[-1]
    np.testing.assert_allclose(values(counterpart(images(3)))[:, 0], expected, rtol=1e-4)


def test_channels_first_and_oblong_images(narrow):
    if keras.backend.backend() == "tensorflow":
        pytest.skip("TensorFlow convolves channels-first maps on GPUs alone")
    x, networks = np.random.default_rng(0).random((3, 8, 6, 2)).astype("float32"), []
    try:
        for layout, shape in (("channels_last", (8, 6, 2)), ("channels_first", (2, 8, 6))):
            keras.config.set_image_data_format(layout)
            networks.append(build("resnet18", input_shape=shape))
    finally:
        keras.config.set_image_data_format("channels_last")
    last, first = networks
    draw = np.random.default_rng(1)
    last.set_weights([w + draw.uniform(0, 0.2, w.shape) for w in last.get_weights()])
    first.set_weights(last.get_weights())
    logits = values(last(x))
    assert np.ptp(logits) > 0
    np.testing.assert_allclose(values(first(x.transpose(0, 3, 1, 2))), logits, atol=1e-5)


def test_equal_frames_give_what_their_image_gives(narrow):
    shown, framed = build("nf_resnet18"), build("nf_resnet18", encoder="events")
    draw = np.random.default_rng(1)
    weights = [w + 0.1 * draw.random(w.shape) for w in shown.get_weights()]
    for model in (shown, framed):
        model.set_weights(weights)
    assert framed.input_shape == (None, T, SIZE, SIZE, 2)
    logits = values(shown(images(3)))
    assert np.ptp(logits) > 0
    frames = np.repeat(images(3)[:, None], T, axis=1)
    np.testing.assert_allclose(values(framed(frames)), logits, atol=1e-5)


def test_frames_keep_their_steps_without_spikes(narrow):
    counterpart = build("vgg5", encoder="events", spiking=False)
    frames = images(2, T)
    logits = values(counterpart(frames))
    assert logits.shape == (2, T, CLASSES)
    np.testing.assert_allclose(
        values(counterpart(frames[:, ::-1].copy())), logits[:, ::-1], atol=1e-6
    )


@pytest.mark.parametrize(
    "options, kind",
    [
        (dict(encoder="latency"), keras_dep.LatencyEncoding),
        (dict(encoder="rate"), keras_dep.RateEncoding),
        (dict(normalization="tdbn"), keras_dep.layers.ThresholdDependentBatchNormalization),
    ],
    ids=str,
)
def test_encoders_and_normalisations_are_what_they_say(options, kind, narrow):
    model = build("vgg5", **options)
    found = [layer for layer in model.layers if isinstance(layer, kind)]
    assert len(found) == (1 if "encoder" in options else 3)
    assert model(images(2)).shape == (2, T, CLASSES)
    if "normalization" in options:
        np.testing.assert_allclose(values(found[0].gamma), 0.2)


def test_two_conventions_give_one_network(narrow):
    decays, constants = [
        build("vgg5", neuron=neuron).get_config() for neuron in ({"decay": 0.5}, {"tau": 2.0})
    ]
    taus = [
        [layer["config"].get("tau") for layer in config["layers"] if layer["class_name"] == "LIF"]
        for config in (decays, constants)
    ]
    assert taus[0] == taus[1] == [2.0] * 3


@pytest.mark.parametrize("name", ["vgg5", "nf_resnet18"])
def test_layers_are_named_alike_in_every_network_of_an_architecture(name):
    options = {"input_shape": (8, 8, 1), "num_classes": 10}
    first, second, counterpart = (
        models.build(name, **options, spiking=spiking) for spiking in (True, True, False)
    )
    names = [layer.name for layer in first.layers]
    assert names == [layer.name for layer in second.layers]
    assert {"conv1", "conv2", "lif1", "lif2", "dense1", "logits"} <= set(names)
    paths = [weight.path for weight in first.weights]
    assert paths == [weight.path for weight in second.weights]
    assert paths == [weight.path for weight in counterpart.weights]
    assert len(set(paths)) == len(paths)


def test_weights_saved_under_other_names_of_layers_load(tmp_path):
    options = {"input_shape": (8, 8, 1), "num_classes": 10}
    model = models.build("vgg5", **options)
    config = json.dumps(model.get_config())
    for kind, number in itertools.product(("conv", "norm", "lif", "pool", "dense"), range(1, 4)):
        config = config.replace(f'"{kind}{number}"', f'"{kind}_of_keras_{number}"')
    former = keras.Model.from_config(json.loads(config))
    assert "conv_of_keras_1" in [layer.name for layer in former.layers]
    former.save_weights(tmp_path / "former.weights.h5")
    model.load_weights(tmp_path / "former.weights.h5")
    for found, wanted in zip(model.get_weights(), former.get_weights(), strict=True):
        np.testing.assert_array_equal(found, wanted)
