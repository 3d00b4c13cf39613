"""The networks of `snn_step.py` in torch, with the neurons of other libraries."""

TAU = 1.1
CLASSES = 10


def _spikingjelly():
    from spikingjelly.activation_based import functional
    from spikingjelly.activation_based import neuron
    from spikingjelly.activation_based import surrogate

    def layer():
        triangle = surrogate.PiecewiseQuadratic(alpha=1.0)
        return neuron.LIFNode(
            TAU, decay_input=False, v_reset=None, surrogate_function=triangle, step_mode="m"
        )

    return layer, functional.reset_net


def _snntorch():
    import snntorch

    def cell():
        return snntorch.Leaky(
            beta=1 - 1 / TAU,
            spike_grad=snntorch.surrogate.triangular(),
            reset_mechanism="subtract",
            reset_delay=False,
        )

    def step(neurons, current, membrane):
        return neurons(current, neurons.init_leaky() if membrane is None else membrane)

    return _stepped(cell, step), _keep


def _norse():
    import norse.torch as norse
    import torch

    # An Euler step of dt keeps 1 - dt tau_mem_inv of the membrane.
    parameters = norse.LIFBoxParameters(tau_mem_inv=torch.as_tensor(1000 / TAU), alpha=1.0)
    return _stepped(lambda: norse.LIFBoxCell(parameters), lambda cell, *args: cell(*args)), _keep


def _keep(model):
    """Does nothing: state is passed from step to step."""


def _stepped(make_cell, call):
    """Returns a layer that calls a peer's cell at each step of `(T, batch, ...)`."""
    import torch

    class Stepped(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = make_cell()

        def forward(self, currents):
            spikes, state = [], None
            for current in currents:
                fired, state = call(self.cell, current, state)
                spikes.append(fired)
            return torch.stack(spikes)

    return Stepped


def _parts(steps, neuron):
    """Returns `(convolve, fire)`, which build layers on time folded into the batch."""
    from torch import nn

    class Fire(nn.Module):
        """Normalisation and neurons; the first layer repeats its input at every step."""

        def __init__(self, width, first=False):
            super().__init__()
            self.normalise, self.neurons, self.first = nn.BatchNorm2d(width), neuron(), first

        def forward(self, x):
            x = self.normalise(x)
            x = x.repeat(steps, 1, 1, 1, 1) if self.first else x.unflatten(0, (steps, -1))
            return self.neurons(x).flatten(0, 1)

    def convolve(inputs, outputs, size=3, strides=1):
        return nn.Conv2d(inputs, outputs, size, strides, size // 2)

    return convolve, Fire


def _vgg11(steps, neuron):
    from torch import nn

    from keras_dep.models.vgg import STAGES

    convolve, fire = _parts(steps, neuron)
    body, width = [], 3
    for stage in STAGES["vgg11"]:
        if stage == "M":
            body.append(nn.AvgPool2d(2))
        else:
            body += [convolve(width, stage), fire(stage, first=width == 3)]
            width = stage
    head = [nn.AdaptiveAvgPool2d(7), nn.Flatten(), nn.Linear(512 * 49, CLASSES)]
    return nn.Sequential(*body, *head)


def _resnet18(steps, neuron):
    from torch import nn

    convolve, fire = _parts(steps, neuron)

    class Block(nn.Module):
        def __init__(self, inputs, width, strides, first):
            super().__init__()
            self.fire = fire(inputs, first)
            self.branch = nn.Sequential(
                convolve(inputs, width, strides=strides), fire(width), convolve(width, width)
            )
            same = strides == 1 and inputs == width
            self.shortcut = nn.Identity() if same else convolve(inputs, width, 1, strides)

        def forward(self, x):
            fired = self.fire(x)
            return self.branch(fired) + self.shortcut(fired)

    body, inputs = [nn.Conv2d(3, 64, 3, padding=1, bias=False)], 64
    for stage, width in enumerate((64, 128, 256, 512)):
        for block in range(2):
            strides, first = 2 if stage and not block else 1, not stage and not block
            body.append(Block(inputs, width, strides, first))
            inputs = width
    head = [fire(512), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, CLASSES)]
    return nn.Sequential(*body, *head)


NEURONS = {"SpikingJelly": _spikingjelly, "snnTorch": _snntorch, "Norse": _norse}
NETWORKS = {"vgg11": _vgg11, "resnet18": _resnet18}
