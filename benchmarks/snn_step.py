"""Seconds of a training step and an inference of spiking networks, compared with other libraries.

Each case runs steps of all runners in turn, each runner in its own process: ours on one backend, or
also on those of `--also`; the same network with the neurons of SpikingJelly (multi-step), snnTorch
and Norse; and "convolutions", ours without neurons and normalisation, the lower bound of a backend.
The peers are torch modules that differ in their neurons alone. All of them fold time into the batch
for convolutions, run the first convolution once per image, and use the memory format of `--layout`.
"jax / it" is the median over rounds of the time of ours on JAX over that of the runner, below 1 if
ours is faster. The share of a step outside convolution follows: 1 minus the median of the
convolutions' time over ours. With several T, the cost of one more step of T by least squares
follows, and the cost per step at the largest T over that at the smallest: 1 if the cost is
proportional to T, less if a part of it is fixed. `--memory` adds the peak memory of each runner,
with `--rounds=0` nothing else; `--recompute` saves memory for time. `--apart` ends each runner
before the next one starts, for machines whose memory does not hold all of them. Runners killed for
memory are skipped in that case.

  python benchmarks/snn_step.py --backend=torch --also=tensorflow,jax --json=snn_step.json
  python benchmarks/snn_step.py --backend=jax --models=vgg11 --quick
  python benchmarks/snn_step.py --models=vgg11 --timesteps=16,64 --batches=8 --memory --recompute
"""

import argparse
import contextlib
import itertools
import statistics
import time
import typing

import harness
from snn_peers import CLASSES
from snn_peers import NETWORKS
from snn_peers import NEURONS
from snn_peers import TAU

CALLS = ("training", "inference")


class Runner(typing.NamedTuple):
    """A library or variant that runs steps, and its framework."""

    name: str
    backend: str

    def __str__(self):
        return f"{self.name}, {self.backend}"


def main():
    options = _options()
    if options.alone:
        _answer(options)
        return
    rows, costs = [], {}
    heads = "".join(f"{f'{backend} / it':>17}" for backend in options.backends)
    print(
        f"{'case':<26}{'seconds of':<12}{'runner':<26}{'median':>9}{'least':>9}{'most':>9}"
        f"{'images / s':>12}{heads}"
    )
    for name, steps, batch in itertools.product(options.models, options.timesteps, options.batches):
        case = f"{name}, T {steps}, batch {batch}"
        found = _measure(name, steps, batch, options)
        for metric, times in found.items():
            rows += _shown(case, batch, metric, times, options)
        if options.memory:
            found["peak MB"] = _peaks(case, name, steps, batch, options)
            rows += _compared(case, options, "peak MB", found["peak MB"])
        for metric, values in found.items():
            for runner, taken in values.items():
                key = (f"{name}, batch {batch}", metric, runner)
                costs.setdefault(key, {})[steps] = statistics.median(taken)
        # A later case may be interrupted.
        harness.save(rows, options)
    if len(set(options.timesteps)) > 1:
        rows += _slopes(costs, options)
    harness.save(rows, options)


def _slopes(costs, options):
    """Returns rows of the cost of one more step of T, and of the growth of the cost per step."""
    rows, found = [], {}
    least, most = min(options.timesteps), max(options.timesteps)
    sizes = f"T {most} / {least}"
    print(f"{'case':<26}{'per step of T':<20}{'runner':<26}{'slope':>9}{sizes:>12}")
    for (case, metric, runner), by_steps in costs.items():
        if set(options.timesteps) == set(by_steps):
            slope = statistics.linear_regression(*zip(*by_steps.items())).slope
            growth = by_steps[most] / most / (by_steps[least] / least)
            for name, value in (
                (f"{metric} per step of T", slope),
                (f"{metric} over T, {most} over {least}", growth),
            ):
                # The memory of a small network may not grow.
                if value > 0:
                    found.setdefault((case, name), {})[runner] = [value]
            print(f"{case:<26}{metric:<20}{runner!s:<26}{slope:>9.4f}{growth:>12.2f}")
    for (case, name), values in found.items():
        rows += _compared(case, options, name, values)
    return rows


def _options():
    parser = harness.parser(__doc__, "T 4 and batch 8 alone", "counted steps; 0: no times")
    parser.add_argument("--models", default="vgg11,resnet18", help="comma-separated")
    parser.add_argument("--timesteps", help="comma-separated; default 4,16, quick 4")
    parser.add_argument("--batches", help="comma-separated; default 32,128, quick 8")
    parser.add_argument("--peers", default=",".join(NEURONS), help="comma-separated")
    parser.add_argument("--also", default="", help="more backends to run ours on, comma-separated")
    parser.add_argument("--warmups", type=int, default=2, help="uncounted rounds before")
    parser.add_argument(
        "--run", default="auto", choices=harness.RUNS, help="mode of Keras' compile"
    )
    parser.add_argument("--precision", default="float32", choices=("float32", "mixed_bfloat16"))
    parser.add_argument("--layout", default="last", choices=("last", "first"), help="channels")
    parser.add_argument("--recompute", action="store_true", help="ours recomputes membranes")
    parser.add_argument(
        "--memory", action="store_true", help="measure peak memory too, of the GPU or under Linux"
    )
    parser.add_argument("--apart", action="store_true", help="run one runner after the other")
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    options = harness.parsed(parser)
    for name, value in (
        ("timesteps", "4" if options.quick else "4,16"),
        ("batches", "8" if options.quick else "32,128"),
    ):
        numbers = (getattr(options, name) or value).split(",")
        setattr(options, name, [int(number) for number in numbers])
    for name, known in (("models", NETWORKS), ("peers", NEURONS), ("also", harness.BACKENDS)):
        harness.listed(parser, options, name, known)
    options.backends = list(dict.fromkeys((options.backend, *options.also)))
    return options


def _measure(name, steps, batch, options):
    """Returns seconds by metric and runner, of rounds in which all runners take one step."""
    runners = [
        *(Runner("ours", backend) for backend in options.backends),
        *(Runner(peer, "torch") for peer in options.peers),
        *(Runner("convolutions", backend) for backend in options.backends),
    ]
    times = {metric: {} for metric in CALLS}
    if not options.rounds:
        return times
    for group in [[one] for one in runners] if options.apart else [runners]:
        with _asked(group, name, steps, batch, options) as answers:
            for metric, seconds in times.items():
                for _ in range(options.warmups):
                    answers(metric)
                rounds = [answers(metric) for _ in range(options.rounds)]
                # The last round lacks runners that were killed for memory.
                for one in rounds[-1]:
                    seconds[one] = [took[one] for took in rounds]
    return times


@contextlib.contextmanager
def _asked(runners, name, steps, batch, options):
    """Yields `answers(question)`, a dictionary by runner of those whose process still runs."""
    with contextlib.ExitStack() as processes:
        asks = {}
        for runner in runners:
            alone = _alone(runner, name, steps, batch, options)
            asks[runner] = processes.enter_context(harness.process_of(__file__, *alone))

        def answers(question):
            found = {}
            for runner, ask in list(asks.items()):
                try:
                    found[runner] = ask(question)
                except harness.Ended as error:
                    print(f"{runner} left out of {question}: {error}", flush=True)
                    del asks[runner]
            return found

        for runner, missing in answers("start").items():
            if missing:
                print(f"{runner} left out: {missing}", flush=True)
                del asks[runner]
        yield answers


def _alone(runner, name, steps, batch, options):
    """Returns the arguments of a runner's process."""
    sizes = (f"--models={name}", f"--timesteps={steps}", f"--batches={batch}")
    common = [f"--{name}={getattr(options, name)}" for name in ("run", "layout", "precision")]
    common += ["--recompute"] * options.recompute
    return *sizes, *common, f"--backend={runner.backend}", f"--alone={runner.name}"


def _answer(options):
    """Runs in a runner's process: answers with seconds, or the peak memory of three steps."""
    (name,), (steps,), (batch,) = options.models, options.timesteps, options.batches
    try:
        if options.alone in ("ours", "convolutions"):
            train, infer = _ours(name, steps, options, floor=options.alone == "convolutions")
        else:
            train, infer = _peer(options.alone, name, steps, options)
    except ImportError as error:
        missing = str(error)
        harness.answer(lambda _: missing)
        return
    calls = dict(zip(CALLS, (train, infer)))
    x, y = _data(batch)

    def reply(question):
        if question == "start":
            return None
        if question == "peak":
            with harness.peak_memory(options.backend) as peak:
                for _ in range(3):
                    train(x, y)
            return peak[0]
        started = time.perf_counter()
        calls[question](x, y)
        return time.perf_counter() - started

    harness.answer(reply)


def _data(batch):
    import numpy as np

    draw = np.random.default_rng(0)
    x = draw.uniform(0, 1, (batch, 32, 32, 3)).astype("float32")
    return x, draw.integers(0, CLASSES, batch).astype("int32")


def _shown(case, batch, metric, times, options):
    """Prints the times of each runner, and returns rows, also of the share outside convolution."""
    mine = [one for one in times if one.name == "ours"]
    for runner, seconds in times.items():
        ratios = {one.backend: f"{_ratio(times, one, runner):.2f}" for one in mine}
        cells = "".join(f"{ratios.get(backend, '-'):>17}" for backend in options.backends)
        median = statistics.median(seconds)
        print(
            f"{case:<26}{metric:<12}{runner!s:<26}{median:>9.4f}{min(seconds):>9.4f}"
            f"{max(seconds):>9.4f}{batch / median:>12.1f}{cells}",
            flush=True,
        )
    rows = _compared(case, options, f"seconds of {metric}", times)
    for one in mine:
        floor = Runner("convolutions", one.backend)
        if floor in times:
            outside = 1 - statistics.median(b / a for a, b in zip(times[one], times[floor]))
            print(
                f"{case:<26}{metric:<12}{one!s:<26}outside convolution: {100 * outside:.0f} %",
                flush=True,
            )
            name = f"share of {metric} outside convolution"
            rows.append(_row(one, case, options, name, outside, 1.0, "all of it", outside))
    return rows


def _compared(case, options, metric, values):
    """Returns rows of ours on each backend against every other runner."""
    return [
        _row(
            one,
            case,
            options,
            metric,
            statistics.median(values[one]),
            statistics.median(values[other]),
            str(other),
            _ratio(values, one, other),
        )
        for one in values
        if one.name == "ours"
        for other in values
        if other != one
    ]


def _ratio(values, one, other):
    return statistics.median(a / b for a, b in zip(values[one], values[other]))


def _peaks(case, name, steps, batch, options):
    """Measures by runner the megabytes that three training steps add to a new process."""
    peaks = {}
    for runner in (
        *(Runner("ours", backend) for backend in options.backends),
        *(Runner(peer, "torch") for peer in options.peers),
    ):
        with _asked([runner], name, steps, batch, options) as answers:
            for peak in answers("peak").values():
                print(f"{case:<26}{'MB':<12}{runner!s:<26}{peak:>9.0f}", flush=True)
                peaks[runner] = [peak]
    return peaks


def _row(one, case, options, metric, ours, peer, name, ratio):
    case = f"{case}, {options.precision}, run {options.run}, channels {options.layout}"
    return harness.row(one.backend, case, metric, ours, peer, name, ratio)


def _ours(name, steps, options, floor=False):
    """Returns `(train, infer)` of our network, or of its convolutions, pools and head alone."""
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
        neuron={"tau": TAU, "recompute": options.recompute},
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
    optimizer = keras.optimizers.SGD(1e-6, momentum=0.9)
    model.compile(optimizer, loss, **harness.RUNS[options.run])

    def arranged(x):
        return x.transpose(0, 3, 1, 2) if first else x

    return (
        lambda x, y: float(model.train_on_batch(arranged(x), y)),
        lambda x, y: model.predict_on_batch(arranged(x)),
    )


def _peer(peer, name, steps, options):
    """Returns `(train, infer)` of the network with a peer's neurons."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    neuron, reset = NEURONS[peer]()
    model = NETWORKS[name](steps, neuron).to(device)
    if options.layout == "last":
        # In torch this is a memory format, which makes a peer's step faster on a CPU.
        model = model.to(memory_format=torch.channels_last)
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


if __name__ == "__main__":
    main()
