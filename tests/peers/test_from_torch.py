"""Networks of other libraries through `from_torch`: the same spikes, logits and gradients."""

import keras
import numpy as np
import pytest
from hypothesis import Phase
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from keras_dep.interop import from_torch

if keras.backend.backend() != "torch":
    pytest.skip("the networks are modules of torch", allow_module_level=True)

torch = pytest.importorskip("torch")
nn = torch.nn
functional = pytest.importorskip("spikingjelly.activation_based.functional")
layer = pytest.importorskip("spikingjelly.activation_based.layer")
neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
surrogate = pytest.importorskip("spikingjelly.activation_based.surrogate")
snntorch = pytest.importorskip("snntorch")
norse = pytest.importorskip("norse.torch")

SHAPE, BATCH = (2, 4, 4), 5
# Shrinking a failure would build hundreds of networks.
FEW = settings(max_examples=3, deadline=None, derandomize=True, phases=[Phase.generate])


def images(seed=0, shape=SHAPE, batch=BATCH):
    return np.random.default_rng(seed).random((batch, *shape)).astype("float32")


def jelly(kind, step_mode, seed, **neurons):
    """A network of SpikingJelly with a convolution, normalisation, pooling and dropout."""
    torch.manual_seed(seed)
    body = nn.Sequential(
        layer.Conv2d(2, 6, 3, padding=1),
        layer.BatchNorm2d(6),
        kind(**neurons),
        layer.MaxPool2d(2),
        layer.Flatten(),
        layer.Dropout(0.5),
        layer.Linear(24, 8),
        kind(**neurons),
        layer.Linear(8, 3),
    )
    nn.init.constant_(body[1].weight, 3.0)
    nn.init.constant_(body[1].bias, 1.0)
    body[6].weight.data *= 4
    functional.set_step_mode(body, step_mode)
    return body


class Loop(nn.Module):
    """A network of snnTorch whose forward loops over time and hands states on."""

    def __init__(self, make, timesteps, hidden):
        super().__init__()
        self.timesteps, self.hidden = timesteps, hidden
        self.first, self.second = nn.Linear(32, 12), nn.Linear(12, 3)
        self.neurons, self.outputs = make(), make()
        self.first.weight.data *= 4
        self.second.weight.data *= 4

    def forward(self, x):
        spikes, membranes, one, two = [], [], (), ()
        if not self.hidden:
            one, two = (each.reset_mem() for each in (self.neurons, self.outputs))
            one, two = (each if isinstance(each, tuple) else (each,) for each in (one, two))
        for _ in range(self.timesteps):
            fired = self.neurons(self.first(x.flatten(1)), *one)
            if not self.hidden:
                fired, *one = fired
            fired = self.outputs(self.second(fired), *two)
            if not self.hidden:
                fired, *two = fired
                membranes.append(two[-1])
            spikes.append(fired)
        return torch.stack(spikes), torch.stack(membranes or spikes)


def looped(seed, timesteps, synaptic=False, hidden=False, **neurons):
    torch.manual_seed(seed)
    if synaptic:
        return Loop(
            lambda: snntorch.Synaptic(alpha=0.6, init_hidden=hidden, **neurons), timesteps, hidden
        )
    return Loop(lambda: snntorch.Leaky(init_hidden=hidden, **neurons), timesteps, hidden)


def sequential_state(seed, cell, whole=False):
    torch.manual_seed(seed)
    lift = norse.Lift if whole else lambda module: module
    body = norse.SequentialState(
        lift(nn.Flatten()),
        lift(nn.Linear(32, 12)),
        cell,
        lift(nn.Linear(12, 3)),
        norse.LI() if whole else norse.LICell(),
    )
    for place in (1, 3):
        linear = body[place].lifted_module if whole else body[place]
        linear.weight.data *= 8
    return body


def spikes_of(model, x):
    """Spikes of each layer of neurons, `(T * batch, ...)`."""
    network, found = model.layers[-1], {}
    network.raw_logits(torch.tensor(x), note=lambda n, inputs, spikes: found.update({n: spikes}))
    return [found[number].detach().numpy() for number in sorted(found)]


def assert_equal(module, timesteps, run):
    """Compares spikes, logits and gradients with those of the original that `run` calls."""
    module = module.eval()
    model = from_torch(module, SHAPE, timesteps)
    x, fired = images(3), {}
    hooks = [
        part.register_forward_hook(
            lambda part, given, out: fired.setdefault(id(part), []).append(
                (out if isinstance(out, torch.Tensor) else out[0]).detach()
            )
        )
        for part in module.modules()
        if hasattr(part, "v_threshold") or hasattr(part, "threshold") or _norse(part)
    ]
    original = torch.tensor(x, requires_grad=True)
    ours = torch.tensor(x, requires_grad=True)
    with torch.enable_grad():
        expected, found = run(module, original), model(ours, training=False)
    for hook in hooks:
        hook.remove()
    spikes = spikes_of(model, x)
    for theirs, mine in zip(fired.values(), spikes, strict=True):
        theirs = torch.cat(theirs).numpy()
        np.testing.assert_array_equal(mine, theirs.reshape(mine.shape))
    assert 0 < np.concatenate([each.ravel() for each in spikes]).mean() < 1
    if expected.ndim == 3:
        expected = expected.transpose(0, 1)
    np.testing.assert_array_equal(found.detach().numpy(), expected.detach().numpy())
    weights = torch.randn(found.shape, generator=torch.Generator().manual_seed(0))
    slopes = [
        torch.autograd.grad((logits * weights).sum(), inputs)[0].numpy()
        for logits, inputs in ((expected, original), (found, ours))
    ]
    assert abs(slopes[0]).max() > 0
    np.testing.assert_allclose(slopes[1], slopes[0], rtol=0, atol=2e-5 * abs(slopes[0]).max())
    return model


def _norse(part):
    return isinstance(part, (norse.LIFCell, norse.LIF, norse.LIFBoxCell))


def run_jelly(timesteps):
    def run(module, x):
        functional.reset_net(module)
        if module[0].step_mode == "m":
            return module(x.unsqueeze(0).repeat(timesteps, 1, 1, 1, 1))
        return torch.stack([module(x) for _ in range(timesteps)])

    return run


@pytest.mark.parametrize("step_mode", ["s", "m"])
@pytest.mark.parametrize("kind", ["IFNode", "LIFNode", "ParametricLIFNode"])
@FEW
@given(
    st.floats(1.1, 4.0),
    st.floats(0.3, 1.2),
    st.sampled_from([None, 0.0, -0.2]),
    st.booleans(),
    st.integers(1, 4),
    st.integers(0, 99),
)
def test_spikingjelly(kind, step_mode, tau, threshold, reset, decay_input, timesteps, seed):
    options = {"v_threshold": threshold, "v_reset": reset, "surrogate_function": surrogate.ATan()}
    if kind != "IFNode":
        options["decay_input"] = decay_input
        options["tau" if kind == "LIFNode" else "init_tau"] = tau
    module = jelly(getattr(neuron, kind), step_mode, seed, **options)
    assert_equal(module, timesteps, run_jelly(timesteps))


@pytest.mark.parametrize("synaptic", [False, True])
@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
@FEW
@given(
    st.floats(0.1, 0.95),
    st.floats(0.3, 1.2),
    st.booleans(),
    st.booleans(),
    st.integers(1, 4),
    st.integers(0, 99),
)
def test_snntorch(synaptic, reset, beta, threshold, delay, hidden, timesteps, seed):
    module = looped(
        seed,
        timesteps,
        synaptic,
        hidden,
        beta=beta,
        threshold=threshold,
        reset_mechanism=reset,
        reset_delay=delay,
    )

    def run(module, x):
        for each in (module.neurons, module.outputs):
            each.reset_mem()
        return module(x)[0]

    assert_equal(module, None, run)


@pytest.mark.parametrize("kind", ["LIFCell", "LIFBoxCell", "LIF"])
@FEW
@given(
    st.floats(50.0, 600.0),
    st.floats(0.3, 1.2),
    st.sampled_from([0.0, -0.1]),
    st.integers(2, 5),
    st.integers(0, 99),
)
def test_norse(kind, rate, threshold, reset, timesteps, seed):
    constants = [torch.tensor(each) for each in (rate, 0.0, threshold, reset)]
    if kind == "LIFBoxCell":
        cell = norse.LIFBoxCell(norse.LIFBoxParameters(*constants))
    else:
        cell = getattr(norse, kind)(norse.LIFParameters(torch.tensor(300.0), *constants))
    module = sequential_state(seed, cell, whole=kind == "LIF")

    def run(module, x):
        if kind == "LIF":
            return module(x.unsqueeze(0).repeat(timesteps, 1, 1, 1, 1))[0]
        state, found = None, []
        for _ in range(timesteps):
            logits, state = module(x, state)
            found.append(logits)
        return torch.stack(found)

    assert_equal(module, timesteps, run)
