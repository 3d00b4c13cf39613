"""What a training step and an inference of spiking networks take, beside other libraries.

Each case takes steps in turn: ours on one backend, the same network out of SpikingJelly's
multi-step neurons, snnTorch's and Norse's, and "convolutions", ours with every neuron and
normalisation taken out, which is the floor. The peers are torch modules that differ in their
neurons alone; time is folded into the batch for convolutions, and the first convolution sees each
image once, for all of them. "ours / it" is the median of the rounds' ratios, below 1 where ours
takes less; against "convolutions" its inverse is the share of the step that they take. `--memory`
runs each contestant in a process of its own for its peak.

  python benchmarks/snn_step.py --backend=torch --json=snn_step.json
  python benchmarks/snn_step.py --backend=jax --models=vgg11 --quick
"""

import argparse
import itertools
import json
import resource
import statistics
import subprocess
import sys
import time

import conventions

TAU = 1.1
CLASSES = 10


def main():
    options = _options()
    if options.alone:
        print(json.dumps(_peak_memory(options)))
        return
    rows = []
    print(f"{'case':<24}{'seconds of':<12}{'contestant':<14}{'median':>9}{'least':>9}{'most':>9}"
          f"{'ours / it':>11}")  # fmt: skip
    for name, steps, batch in itertools.product(options.models, options.timesteps, options.batches):
        case = f"{name}, T {steps}, batch {batch}"
        for metric, times in _measure(name, steps, batch, options).items():
            rows += _rows(case, metric, times, options)
        if options.memory:
            rows += _memory_rows(case, name, steps, batch, options)
    conventions.save(rows, options)


def _options():
    parser = conventions.parser(__doc__, "T 4 and batch 8 alone", "counted steps of each")
    parser.add_argument("--models", default="vgg11,resnet18", help="a list with commas between")
    parser.add_argument("--timesteps", help="a list; default 4,16, quick 4")
    parser.add_argument("--batches", help="a list; default 32,128, quick 8")
    parser.add_argument("--peers", default=",".join(NEURONS), help="a list")
    parser.add_argument("--jit", default="auto", choices=("auto", "on", "off"))
    parser.add_argument("--precision", default="float32", choices=("float32", "mixed_bfloat16"))
    parser.add_argument("--layout", default="last", choices=("last", "first"), help="channels")
    parser.add_argument("--memory", action="store_true", help="peak memory too, on the CPU")
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    options = conventions.parsed(parser)
    for name, value in (("timesteps", "4" if options.quick else "4,16"),
                        ("batches", "8" if options.quick else "32,128")):  # fmt: skip
        numbers = (getattr(options, name) or value).split(",")
        setattr(options, name, [int(number) for number in numbers])
    for name, known in (("models", NETWORKS), ("peers", NEURONS)):
        conventions.listed(parser, options, name, known)
    return options


def _measure(name, steps, batch, options):
    """Seconds by metric and contestant, of counted rounds in which all take their turn."""
    makers = {peer: lambda peer=peer: _peer(peer, name, steps, options) for peer in options.peers}
    makers = {"ours": lambda: _ours(name, steps, options), **makers}
    makers["convolutions"] = lambda: _ours(name, steps, options, floor=True)
    contestants, times = {}, {"training step": {}, "inference": {}}
    for contestant, make in makers.items():
        try:
            contestants[contestant] = dict(zip(times, make()))
        except ImportError as error:
            print(f"{contestant} left out: {error}", flush=True)
    x, y = _data(batch)
    for metric, seconds in times.items():
        seconds.update({contestant: [] for contestant in contestants})
        for number in range(options.rounds + 2):
            for contestant, run in contestants.items():
                started = time.perf_counter()
                run[metric](x, y)
                if number >= 2:
                    seconds[contestant].append(time.perf_counter() - started)
    return times


def _data(batch):
    import numpy as np

    draw = np.random.default_rng(0)
    x = draw.uniform(0, 1, (batch, 32, 32, 3)).astype("float32")
    return x, draw.integers(0, CLASSES, batch).astype("int32")


def _rows(case, metric, times, options):
    rows = []
    for contestant, seconds in times.items():
        ratio = statistics.median(a / b for a, b in zip(times["ours"], seconds))
        middle = statistics.median(seconds)
        print(
            f"{case:<24}{metric[:9]:<12}{contestant:<14}{middle:>9.3f}{min(seconds):>9.3f}"
            f"{max(seconds):>9.3f}{ratio:>11.2f}",
            flush=True,
        )
        if contestant != "ours":
            ours = statistics.median(times["ours"])
            rows.append(
                _row(case, options, f"seconds of {metric}", ours, middle, contestant, ratio)
            )
    return rows


def _memory_rows(case, name, steps, batch, options):
    sizes = (f"--models={name}", f"--timesteps={steps}", f"--batches={batch}")
    common = (f"--{name}={getattr(options, name)}" for name in ("backend", "jit", "layout"))
    peaks = {}
    for contestant in ("ours", *options.peers):
        command = [sys.executable, __file__, *sizes, *common, f"--alone={contestant}"]
        found = subprocess.run(command, capture_output=True, text=True)
        if found.returncode == 0:
            peaks[contestant] = json.loads(found.stdout.splitlines()[-1])
            print(f"{case:<24}{'MB':<12}{contestant:<14}{peaks[contestant]:>9.0f}", flush=True)
    ours = peaks.pop("ours")
    return [
        _row(case, options, "peak MB", ours, peak, peer, ours / peak)
        for peer, peak in peaks.items()
    ]


def _peak_memory(options):
    """Megabytes that three training steps add to a process which holds the network already."""
    (name,), (steps,), (batch,) = options.models, options.timesteps, options.batches
    if options.alone == "ours":
        train, _ = _ours(name, steps, options)
    else:
        train, _ = _peer(options.alone, name, steps, options)
    x, y = _data(batch)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(3):
        train(x, y)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def _row(case, options, metric, ours, peer, name, ratio):
    case = f"{case}, {options.precision}, jit {options.jit}, channels {options.layout}"
    return conventions.row(options, case, metric, ours, peer, name, ratio)


def _ours(name, steps, options, floor=False):
    """`(train, infer)` of our network, or of its convolutions, pools and head alone."""
    import keras

    import keras_dep

    keras.utils.set_random_seed(0)
    keras.mixed_precision.set_dtype_policy(options.precision)
    keras.config.set_image_data_format(f"channels_{options.layout}")
    first = options.layout == "first"
    model = keras_dep.models.build(
        name,
        input_shape=(3, 32, 32) if first else (32, 32, 3),
        num_classes=CLASSES,
        timesteps=steps,
        neuron={"tau": TAU},
        normalization="merged",
    )
    if floor:

        class Nothing(keras.layers.Layer):
            def call(self, inputs, training=None, mask=None):
                return inputs

        def without(layer):
            if isinstance(layer, (keras_dep.LIF, keras.layers.BatchNormalization)):
                return Nothing()
            return type(layer).from_config(layer.get_config())

        model = keras.models.clone_model(model, clone_function=without)
    loss = keras_dep.MeanLogitCrossentropy()
    jit = {"auto": "auto", "on": True, "off": False}[options.jit]
    model.compile(keras.optimizers.SGD(1e-6, momentum=0.9), loss, jit_compile=jit)

    def arranged(x):
        return x.transpose(0, 3, 1, 2) if first else x

    return (
        lambda x, y: float(model.train_on_batch(arranged(x), y)),
        lambda x, y: model.predict_on_batch(arranged(x)),
    )


def _peer(peer, name, steps, options):
    """`(train, infer)` of the network with a peer's neurons."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    neuron, reset = NEURONS[peer]()
    model = NETWORKS[name](steps, neuron).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6, momentum=0.9)
    half = torch.autocast(device, torch.bfloat16, enabled=options.precision != "float32")

    def logits(x):
        x = torch.as_tensor(x, device=device).permute(0, 3, 1, 2)
        reset(model)
        with half:
            return model(x).unflatten(0, (steps, -1)).mean(0).float()

    def train(x, y):
        model.train()
        optimizer.zero_grad()
        y = torch.as_tensor(y, device=device).long()
        loss = torch.nn.functional.cross_entropy(logits(x), y)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    def infer(x, y):
        model.eval()
        with torch.no_grad():
            return logits(x).cpu().numpy()

    return train, infer


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

    # An Euler step of dt tau_mem_inv keeps 1 - dt tau_mem_inv of the membrane.
    parameters = norse.LIFBoxParameters(tau_mem_inv=torch.as_tensor(1000 / TAU), alpha=1.0)
    return _stepped(lambda: norse.LIFBoxCell(parameters), lambda cell, *args: cell(*args)), _keep


def _keep(model):
    """Nothing to reset: state is passed from step to step."""


def _stepped(make_cell, call):
    """A layer of a peer's cell, called once per step, over `(T, batch, ...)`."""
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
    """`(convolve, fire)`: makers of layers on time folded into the batch."""
    from torch import nn

    class Fire(nn.Module):
        """Normalisation, repetition of what is one step so far, and neurons."""

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

if __name__ == "__main__":
    main()
