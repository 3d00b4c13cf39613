"""Images per second of our attacks, and of torchattacks and Foolbox on the same network.

All attack the same weights on the same images, in turn, at 8/255: ours compiled on any backend, the
peers on torch in a process of their own. The numbers are medians. The case `reliable` instead gives
the time of the whole suite, and of each attack in it, relative to one PGD of 50 steps on a trained
network. It depends on the network, since early exits skip images that are broken already.

  python benchmarks/attacks.py --backend=torch --json=attacks.json
  python benchmarks/attacks.py --backend=jax --quick
  python benchmarks/attacks.py --cases=reliable --network=runs/hetero/dep --batch=64
"""

import argparse
import contextlib
import os
import statistics
import tempfile
import time

import harness

EPSILON = 8 / 255
STEPS = {"fgsm": 1, "pgd-7": 7, "pgd-50": 50, "apgd-100": 100}
CASES = (*STEPS, "reliable")
PEERS = ("torchattacks", "foolbox")
ROW = "{:<12}{:<14}{:>10}{:>22}{:>10}{:>8}"


def main():
    options = _options()
    if options.peers_of:
        _answer(options)
        return
    rows = []
    print(ROW.format("case", "peer", "ours", "least to most", "peer's", "ratio"))
    if "reliable" in options.cases:
        rows += _suite(options)
    cases = [case for case in options.cases if case != "reliable"]
    if cases:
        model, images, labels = _problem(options)
        with _peers_of(model, options) as ask:
            for case in cases:
                rows += _speeds(case, model, images, labels, ask, options)
    harness.save(rows, options)


def _speeds(case, model, images, labels, ask, options):
    """Measures ours and each peer that has the attack."""
    ours = _ours(case)
    runs = {"ours": lambda steps: _timed(ours(steps), model, images, labels)}
    for peer in PEERS:
        if not (peer == "foolbox" and case == "apgd-100"):
            runs[peer] = lambda steps, peer=peer: ask(case, peer, steps)
    # One step compiles the program of any number; a peer that is not installed returns `None`.
    runs = {name: run for name, run in runs.items() if run(1) is not None}
    speeds = {name: [] for name in runs}
    for _ in range(options.rounds):
        for name, run in runs.items():
            speeds[name].append(len(images) / run(STEPS[case]))
    median, spread = statistics.median(speeds["ours"]), _spread(speeds["ours"])
    found = []
    for name in [name for name in runs if name != "ours"] or [None]:
        peer = ratio = None
        if name:
            peer = statistics.median(speeds[name])
            ratio = statistics.median(a / b for a, b in zip(speeds["ours"], speeds[name]))
        shown = [f"{value:.4g}" if value else "-" for value in (peer, ratio)]
        print(ROW.format(case, name or "-", f"{median:.4g}", spread, *shown), flush=True)
        title = f"{options.model}, {case}"
        found.append(
            harness.row(options.backend, title, "images per second", median, peer, name, ratio)
        )
    return found


def _suite(options):
    """Measures the seconds of the reliable suite and of one PGD of 50 steps on test images."""
    from keras_dep import attacks
    from keras_dep import evaluation
    from keras_dep.evaluation import accuracy

    model, images, labels = _trained(options)
    right = accuracy.right(model, images, labels, options.batch)
    if not right.any():
        raise SystemExit("attacks.py: the network classifies no image right; pass more --examples.")
    chosen = (images[right], labels[right], options.batch)

    def search(steps):
        list(accuracy.under_attack(model, attacks.PGD(epsilon=EPSILON, steps=steps), *chosen))

    # The first compiles. Like the suite, attack only images that are classified right.
    _, peer = (_timed(search, steps) for steps in (1, 50))
    started = time.perf_counter()
    found = evaluation.evaluate(
        model, images, labels, "reliable", epsilon=EPSILON, batch_size=options.batch, verbose=2
    )
    ours = time.perf_counter() - started
    correct = f"{found['worst_case']['correct']} of {found['clean']['correct']} left"
    times = [f"{value:.4g}" for value in (ours, peer, ours / peer)]
    print(ROW.format("reliable", "PGD-50", times[0], correct, *times[1:]))
    title = f"{model.name}, reliable suite on {len(images)} images"
    rows = [harness.row(options.backend, title, "seconds", ours, peer, "PGD-50", ours / peer)]
    for part in found["attacks"]:
        seconds = part["seconds"]
        seen = f"{part['broken']} of {part['attacked']} broken"
        print(f"  {part['attack']:<24}{seconds:>10.4g}{seen:>22}{seconds / peer:>18.3g}")
        title = f"{model.name}, reliable suite, {part['attack']}"
        rows.append(
            harness.row(options.backend, title, "seconds", seconds, peer, "PGD-50", seconds / peer)
        )
    return rows


def _timed(call, *arguments):
    started = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - started


def _spread(values):
    return f"{min(values):.4g} to {max(values):.4g}"


def _options():
    parser = harness.parser(__doc__, "vgg5 and two cases", "counted calls of each kind")
    parser.add_argument(
        "--cases", help="comma-separated; default all but reliable, quick the first two"
    )
    parser.add_argument("--batch", type=int, help="images per call; default 64, quick 8")
    parser.add_argument("--network", help="for the case reliable: a run's folder or a .keras file")
    parser.add_argument("--dataset", default="cifar10", help="for the case reliable")
    parser.add_argument("--data_dir", help="TFDS folder, for the case reliable")
    parser.add_argument("--examples", type=int, help="its test images; default those of one call")
    parser.add_argument("--peers_of", help=argparse.SUPPRESS)
    options = harness.parsed(parser)
    options.cases = options.cases or ",".join(list(STEPS)[: 2 if options.quick else 4])
    harness.listed(parser, options, "cases", CASES)
    if "reliable" in options.cases and not options.network:
        parser.error("the case reliable needs a trained --network.")
    options.batch = options.batch or (8 if options.quick else 64)
    options.model = "vgg5" if options.quick else "vgg11"
    return options


def _problem(options):
    import keras

    import keras_dep

    keras.utils.set_random_seed(0)
    model = keras_dep.models.build(options.model, input_shape=(32, 32, 3), num_classes=10)
    return model, *_images_of(model, options)


def _images_of(model, options):
    """Returns noise and the model's own labels: some attacks use only correct images."""
    import numpy as np

    from keras_dep.models import inference

    shape = (options.batch, 32, 32, 3)
    images = np.random.default_rng(0).uniform(0, 1, shape).astype("float32")
    return images, inference.logits(model, images).argmax(axis=1).astype("int32")


def _trained(options):
    import keras

    from keras_dep.data import sources

    path = options.network
    path = os.path.join(path, "model.keras") if os.path.isdir(path) else path
    model = keras.saving.load_model(path, compile=False)
    count = options.examples or options.batch
    data = sources.load(options.dataset, data_dir=options.data_dir, test_examples=count)
    return model, data.x_test.astype("float32") / 255, data.y_test


def _ours(case):
    from keras_dep import attacks

    kind = {"fgsm": lambda steps: attacks.FGSM(), "apgd-100": lambda s: attacks.APGD(steps=s)}
    # Attacks take and return arrays, so that no computation is pending after a call.
    return kind.get(case, lambda steps: attacks.PGD(steps=steps))


@contextlib.contextmanager
def _peers_of(model, options):
    """Yields `ask(case, peer, steps)`: the seconds of a peer, `None` if it is not installed."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.keras")
        model.save(path)
        arguments = (f"--batch={options.batch}", f"--peers_of={path}", "--backend=torch")
        with harness.process_of(__file__, *arguments) as ask:
            yield ask


def _answer(options):
    """Runs in the process of `_peers_of`: answers each question with the seconds of a call."""
    import keras
    import torch

    from keras_dep.interop import channels_first

    model = keras.saving.load_model(options.peers_of, compile=False)
    images, labels = _images_of(model, options)
    adapted = channels_first(model).eval()
    device = next(adapted.parameters()).device
    images = torch.tensor(images.transpose(0, 3, 1, 2).copy(), device=device)
    labels = torch.tensor(labels, device=device).long()
    build = {"torchattacks": _torchattacks, "foolbox": _foolbox}

    def reply(case, peer, steps):
        with contextlib.suppress(ImportError):
            attack = build[peer](case, adapted, int(steps))
            return _timed(_to_host, attack, images, labels)

    harness.answer(reply)


def _to_host(attack, images, labels):
    # Ours returns arrays on the host.
    return attack(images, labels).cpu()


def _torchattacks(case, adapted, steps):
    import torchattacks

    if case == "fgsm":
        return torchattacks.FGSM(adapted, eps=EPSILON)
    if case == "apgd-100":
        return torchattacks.APGD(adapted, eps=EPSILON, steps=steps)
    return torchattacks.PGD(adapted, eps=EPSILON, alpha=0.01, steps=steps)


def _foolbox(case, adapted, steps):
    import foolbox

    network = foolbox.PyTorchModel(adapted, bounds=(0, 1))
    attack = foolbox.attacks.LinfPGD(abs_stepsize=0.01, steps=steps)
    if case == "fgsm":
        attack = foolbox.attacks.LinfFastGradientAttack()
    return lambda images, labels: attack.run(network, images, labels, epsilon=EPSILON)


if __name__ == "__main__":
    main()
