"""A torch network in attacks, evaluation, training and curvature; networks that are refused."""

import dataclasses
import importlib
import sys
import types

import keras
import numpy as np
import pytest

import keras_dep
from keras_dep import attacks
from keras_dep import evaluation
from keras_dep.curvature import alignment
from keras_dep.evaluation import coverage
from keras_dep.evaluation import metadata
from keras_dep.evaluation import suites
from keras_dep.interop import from_torch
from keras_dep.models import inference
from keras_dep.optimizers.roles import roles
from keras_dep.profiling import ActivityProbe

if keras.backend.backend() != "torch":
    pytest.skip("the networks are modules of torch", allow_module_level=True)

torch = pytest.importorskip("torch")
nn = torch.nn
functional = pytest.importorskip("spikingjelly.activation_based.functional")
layer = pytest.importorskip("spikingjelly.activation_based.layer")
neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
surrogate = pytest.importorskip("spikingjelly.activation_based.surrogate")

T, SHAPE = 3, (3, 6, 6)


def images(batch=6):
    return np.random.default_rng(0).random((batch, *SHAPE)).astype("float32")


def here():
    """A network of this package, from images with channels last."""
    keras.utils.set_random_seed(0)

    def neurons():
        return keras_dep.LIF(T, tau=1.6, threshold=0.5, surrogate="arctan", width=0.5)

    convolutions = [keras.layers.Conv2D(size, 3, padding="same") for size in (6, 8)]
    dense = keras.layers.Dense(5)
    body = [
        *(keras.Input((6, 6, 3)), keras_dep.DirectEncoding(T)),
        *(convolutions[0], neurons(), keras.layers.AveragePooling2D(2)),
        *(convolutions[1], neurons(), keras.layers.GlobalAveragePooling2D()),
        *(dense, keras_dep.UnfoldTime(T)),
    ]
    model = keras.Sequential(body)
    for each in (*convolutions, dense):
        kernel, bias = each.get_weights()
        each.set_weights([2 * kernel, bias + 0.05])
    return model, [*convolutions, dense]


def there(weighted, step_mode):
    """The same network in SpikingJelly."""

    def neurons():
        options = {"v_reset": None, "surrogate_function": surrogate.ATan(2.0)}
        return neuron.LIFNode(tau=1.6, decay_input=False, v_threshold=0.5, **options)

    body = nn.Sequential(
        *(layer.Conv2d(3, 6, 3, padding=1), neurons(), layer.AvgPool2d(2)),
        *(layer.Conv2d(6, 8, 3, padding=1), neurons(), layer.AdaptiveAvgPool2d(1)),
        *(layer.Flatten(), layer.Linear(8, 5)),
    )
    for module, own in zip((body[0], body[3], body[7]), weighted, strict=True):
        kernel, bias = own.get_weights()
        order = (3, 2, 0, 1) if kernel.ndim == 4 else (1, 0)
        module.weight.data = torch.tensor(kernel.transpose(order)).contiguous()
        module.bias.data = torch.tensor(bias)
    functional.set_step_mode(body, step_mode)
    return body


def test_every_attack_finds_the_same_images():
    ours, weighted = here()
    module = there(weighted, "s")
    theirs = from_torch(module, (6, 6, 3), timesteps=T, data_format="channels_last")
    assert coverage.blind_spot(theirs) is None
    x = np.moveaxis(images(), 1, -1)
    y = inference.logits(ours, x).argmax(1)
    broken = 0
    for name, attack in suites.build("reliable", epsilon=0.06, classes=5).items():
        if isinstance(attack, attacks.base.Attack) and hasattr(attack, "_rule"):
            attack.threat = dataclasses.replace(attack.threat, steps=2, restarts=1)
        elif isinstance(attack, attacks.Square):
            attack.queries = 20
        found = [attack(model, x, y) for model in (ours, theirs)]
        assert (abs(found[0] - found[1]) > 1e-4).mean() < 0.03, name
        verdicts = [inference.logits(m, z).argmax(1) for m, z in zip((ours, theirs), found)]
        np.testing.assert_array_equal(*verdicts, err_msg=name)
        broken += (verdicts[0] != y).sum()
    assert broken > len(x)


def test_both_step_modes_and_layouts_agree():
    _, weighted = here()
    stepwise = from_torch(there(weighted, "s"), SHAPE, timesteps=T, mean=0.4, std=(0.2, 0.3, 0.25))
    whole = from_torch(
        *(there(weighted, "m"), (6, 6, 3)),
        timesteps=T,
        mean=0.4,
        std=(0.2, 0.3, 0.25),
        data_format="channels_last",
    )
    x = images()
    expected = stepwise.predict_on_batch(x)
    found = whole.predict_on_batch(np.moveaxis(x, 1, -1))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    attack = attacks.FGSM(epsilon=0.05, estimator="pdsg")
    crafted = attack(whole, np.moveaxis(x, 1, -1), np.arange(6) % 5)
    expected = attack(stepwise, x, np.arange(6) % 5)
    np.testing.assert_allclose(np.moveaxis(crafted, -1, 1), expected, atol=1e-6)


def test_buffers_are_part_of_the_fingerprint():
    module = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2)).eval()
    model = keras.Sequential([keras.Input((1, 8, 8)), keras.layers.TorchModuleWrapper(module)])
    before = metadata.of_weights(model)
    assert metadata.of_weights(model) == before
    # Keras' weights leave the running statistics out.
    weights = model.get_weights()
    module[1].running_mean += 1
    assert all(map(np.array_equal, weights, model.get_weights()))
    assert metadata.of_weights(model) != before


def test_substitutes_and_alignment_agree():
    ours, weighted = here()
    theirs = from_torch(there(weighted, "m"), (6, 6, 3), timesteps=T, data_format="channels_last")
    x = np.moveaxis(images(), 1, -1)
    y = inference.logits(ours, x).argmax(1)
    attack = attacks.FGSM(epsilon=0.06)
    crafted = attacks.Transfer(attack, [theirs])(ours, x, y)
    np.testing.assert_allclose(crafted, attack(ours, x, y), atol=1e-6)
    pairs = ((ours, theirs), (theirs, ours))
    options = {"epsilons": [0, 0.1], "steps": 2}
    sweeps = [
        [
            each["correct"]
            for each in evaluation.epsilon_sweep(*(one, x, y), substitutes=[other], **options)
        ]
        for one, other in pairs
    ]
    assert sweeps[0] == sweeps[1] and len(x) == sweeps[0][0] > sweeps[0][-1]
    results = evaluation.checklist(
        *(theirs, x, y), substitutes=[ours], epsilon=0.06, checks=[2, 14], steps=2, queries=2
    )
    assert [each["passed"] for each in results] == [True, True]
    found = []
    for model in (ours, theirs):
        hessian = keras_dep.Hessian(model, keras_dep.MeanLogitCrossentropy())
        spectrum = hessian.spectrum(x, y, vectors=True)
        found.append(dataclasses.asdict(alignment.measure(hessian, x, y, spectrum)))
    layers = [each.pop("layers") for each in found]
    assert found[1] == pytest.approx(found[0], rel=1e-3)
    assert [path.partition("/")[2] for path in layers[1]] == ["0/weight", "3/weight", "7/weight"]
    for one, other in zip(*(each.values() for each in layers)):
        assert other == pytest.approx(one, rel=1e-3)


@pytest.fixture
def zoo(monkeypatch):
    """The library's networks, which ask torchvision for a function that downloads weights."""
    downloads = types.ModuleType("torchvision._internally_replaced_utils")
    downloads.load_state_dict_from_url = None
    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, downloads.__name__, downloads)
    return pytest.importorskip("spikingjelly.activation_based.model")


@pytest.mark.parametrize("name", ["sew_resnet", "spiking_resnet", "spiking_vgg"])
def test_networks_of_the_library(zoo, name):
    rooms = importlib.import_module(f"{zoo.__name__}.{name}")
    options = {"spiking_neuron": neuron.LIFNode, "surrogate_function": surrogate.ATan()}
    if name == "spiking_vgg":
        module = rooms.SpikingVGG([4, "M", 512, "M"], batch_norm=True, num_classes=5, **options)
        module.avgpool, module.classifier = layer.AdaptiveAvgPool2d(1), layer.Linear(512, 5)
    elif name == "sew_resnet":
        module = rooms.sew_resnet18(num_classes=5, cnf="ADD", **options)
    else:
        module = rooms.spiking_resnet18(num_classes=5, **options)
    stepwise = name == "spiking_resnet"
    functional.set_step_mode(module, "s" if stepwise else "m")
    model = from_torch(module, (3, 16, 16), timesteps=2)
    assert coverage.blind_spot(model) is None
    x = np.random.default_rng(0).random((2, 3, 16, 16)).astype("float32")
    given = torch.tensor(x)
    with torch.no_grad():
        functional.reset_net(module.eval())
        steps = (
            [module(given) for _ in range(2)] if stepwise else module(given.repeat(2, 1, 1, 1, 1))
        )
    expected = (torch.stack(steps) if stepwise else steps).transpose(0, 1).numpy()
    # No pass sees the membranes of the one before.
    for _ in range(2):
        np.testing.assert_allclose(inference.logits(model, x), expected.mean(1), atol=1e-5)
    gradient = attacks.FGSM(estimator="rga").gradient(model, x, [0, 1])
    assert np.isfinite(gradient).all() and abs(gradient).max() > 0


def test_training_curvature_and_activity():
    module = nn.Sequential(
        layer.Conv2d(3, 6, 3),
        layer.BatchNorm2d(6),
        neuron.ParametricLIFNode(v_threshold=0.3),
        layer.Flatten(),
        layer.Linear(96, 5),
    )
    functional.set_step_mode(module, "m")
    before = {name: each.clone() for name, each in module.state_dict().items()}
    model = from_torch(module, SHAPE, timesteps=T)
    kernel = model.trainable_variables[0]
    model.compile(
        optimizer=keras_dep.DEP(keras.optimizers.SGD(0.1)), loss=keras_dep.MeanLogitCrossentropy()
    )
    x, y = images(), np.arange(6) % 5
    model.fit(x, y, epochs=2, verbose=0)
    (role,) = roles([kernel])
    assert (role.what, role.outputs) == ("kernel of torch's Conv2d", (0,))
    after = model.layers[-1].torch_state_dict()
    assert after.keys() == before.keys()
    for name, each in module.state_dict().items():
        assert torch.equal(each, before[name]) and not torch.equal(each, after[name])
    hessian = keras_dep.Hessian(model, keras_dep.MeanLogitCrossentropy())
    assert hessian.dimension == sum(each.numel() for each in module.parameters())
    product = hessian.at(x, y)
    one, two = np.random.default_rng(0).normal(size=(2, hessian.dimension)).astype("float32")
    symmetric = [
        float((first * keras.ops.convert_to_numpy(product(second))).sum())
        for first, second in ((one, two), (two, one))
    ]
    assert symmetric[0] == pytest.approx(symmetric[1], rel=1e-3) and symmetric[0] != 0
    (activity,) = ActivityProbe(model)(x).layers
    assert activity.neurons == 96 and activity.name == "2" and 0 < activity.rate < 1


class Custom(neuron.LIFNode):
    """A subclass, which may compute something else."""


class Feedback(nn.Module):
    def __init__(self):
        super().__init__()
        self.dense, self.neurons = nn.Linear(108, 5), neuron.LIFNode()

    def forward(self, x):
        spikes, found = torch.zeros(len(x), 5), []
        for _ in range(T):
            spikes = self.neurons(self.dense(x.flatten(1)) + spikes)
            found.append(spikes)
        return torch.stack(found)


class Noise(nn.Module):
    def forward(self, x):
        return x + torch.rand_like(x)


class Step(nn.Module):
    def forward(self, x):
        return (x > 0.5).to(x.dtype)


class Branch(nn.Module):
    def forward(self, x):
        return 2 * x if x.sum() > 0 else x


def flat(*modules, outputs=5):
    return nn.Sequential(nn.Flatten(), nn.Linear(108, outputs), *modules)


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (flat(Custom()), "Custom"),
        (flat(neuron.KLIFNode()), "KLIFNode of spikingjelly"),
        (flat(Noise()), "random numbers"),
        (flat(Step()), "step (gt)"),
        (flat(Branch()), "depends on values"),
        (Feedback(), "feed"),
    ],
    ids=["subclass", "other neuron", "random", "step", "branch", "feedback"],
)
def test_what_is_not_understood_is_stated(module, said):
    model = from_torch(module, SHAPE, timesteps=None if isinstance(module, Feedback) else 2)
    assert said in coverage.blind_spot(model)
    (left_out,) = suites.left_out("reliable", model)
    assert {"apgd-triangle-100", "apgd-rga-100"} <= set(left_out["attacks"])
    y = np.arange(4) % 5
    crafted = attacks.FGSM(epsilon=0.05, samples=2)(model, images(4), y)
    assert crafted.shape == (4, *SHAPE)


class Keeps(nn.Module):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return self.calls * x.flatten(1)


@pytest.mark.parametrize(
    ("module", "options", "said"),
    [
        (Keeps(), {}, "which keeps state between calls"),
        (flat(outputs=1), {}, r"class axis of at least 2; received logits of shape \(2, 1\)"),
        (flat(nn.Flatten(0)), {}, r"must return logits .* received shape \(10,\) for 2 images"),
        (flat(), {"mean": 0.5}, "mean and std must be given together"),
        (flat(), {"mean": [0.5, 0.5], "std": 1.0}, "one number per channel, 3; received 2"),
        (flat(), {"images": 255 * images()}, r"must lie in \[0, 1\]"),
    ],
)
def test_refusals(module, options, said):
    with pytest.raises(ValueError, match=said) as caught:
        from_torch(module, SHAPE, **options)
    assert "\n" not in str(caught.value)


def test_a_copy_that_answers_otherwise_is_refused(monkeypatch):
    from keras_dep.interop.torch_networks import spikingjelly

    def other(self, inputs):
        return (torch.full_like(inputs, 0.4),)

    monkeypatch.setattr(spikingjelly.Node, "start", other)
    module = flat(neuron.LIFNode(), nn.Linear(5, 5))
    module[1].weight.data *= 8
    with pytest.raises(ValueError, match="layer '2' fires otherwise in the copy"):
        from_torch(module, SHAPE, timesteps=2)
