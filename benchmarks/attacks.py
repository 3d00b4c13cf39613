"""Images per second of our attacks beside those of torchattacks and Foolbox on the same network.

All attack the same weights on the same images, in turn, at 8/255; the peers need the torch backend,
elsewhere ours are measured alone. Medians. The case `reliable` is another matter: how often as long
as one PGD of 50 steps the whole suite takes on a trained network, which decides how much of it the
early exits spare.

  python benchmarks/attacks.py --backend=torch --json=attacks.json
  python benchmarks/attacks.py --backend=jax --quick
  python benchmarks/attacks.py --cases=reliable --network=runs/hetero/dep --batch=64
"""

import contextlib
import os
import statistics
import time

import conventions

EPSILON = 8 / 255
STEPS = {"fgsm": 1, "pgd-7": 7, "pgd-50": 50, "apgd-100": 100}
CASES = (*STEPS, "reliable")
ROW = "{:<12}{:<14}{:>10}{:>22}{:>10}{:>8}"


def main():
    options = _options()
    rows = []
    print(ROW.format("case", "peer", "ours", "least to most", "peer's", "ratio"))
    for case in options.cases:
        rows += _suite(options) if case == "reliable" else _speeds(case, options)
    conventions.save(rows, options)


def _speeds(case, options):
    """Ours against each peer that has the attack, or alone."""
    model, images, labels = _problem(options)
    runs = {"ours": _ours(case, model, images, labels)}
    if options.backend == "torch":
        runs |= _peers(case, model, images, labels)
    speeds = {name: [] for name in runs}
    for run in runs.values():
        # One step compiles what any number needs.
        run(1)
    for _ in range(options.rounds):
        for name, run in runs.items():
            started = time.perf_counter()
            run(STEPS[case])
            speeds[name].append(len(images) / (time.perf_counter() - started))
    ours, spread = statistics.median(speeds["ours"]), _spread(speeds["ours"])
    found = []
    for name in [name for name in runs if name != "ours"] or [None]:
        peer = ratio = None
        if name:
            peer = statistics.median(speeds[name])
            ratio = statistics.median(a / b for a, b in zip(speeds["ours"], speeds[name]))
        shown = [f"{value:.4g}" if value else "-" for value in (peer, ratio)]
        print(ROW.format(case, name or "-", f"{ours:.4g}", spread, *shown), flush=True)
        title = f"{options.model}, {case}"
        found.append(conventions.row(options, title, "images per second", ours, peer, name, ratio))
    return found


def _suite(options):
    """The reliable suite over one PGD of 50 steps, in seconds, on images of the test set."""
    from keras_dep import attacks
    from keras_dep import evaluation
    from keras_dep.evaluation import measure

    model, images, labels = _trained(options)
    right = measure.right(model, images, labels, options.batch)
    for steps in (1, 50):
        # The first compiles. The suite too attacks only what was right.
        started = time.perf_counter()
        attack = attacks.PGD(epsilon=EPSILON, steps=steps)
        list(measure.under_attack(model, attack, images[right], labels[right], options.batch))
        peer = time.perf_counter() - started
    started = time.perf_counter()
    found = evaluation.evaluate(
        model, images, labels, "reliable", epsilon=EPSILON, batch_size=options.batch, verbose=2
    )
    ours = time.perf_counter() - started
    correct = f"{found['worst_case']['correct']} of {found['clean']['correct']} stand"
    print(
        ROW.format(
            "reliable", "PGD-50", f"{ours:.4g}", correct, f"{peer:.4g}", f"{ours / peer:.3g}"
        )
    )
    title = f"{model.name}, reliable suite on {len(images)} images"
    return [conventions.row(options, title, "seconds", ours, peer, "PGD-50", ours / peer)]


def _spread(values):
    return f"{min(values):.4g} to {max(values):.4g}"


def _options():
    parser = conventions.parser(__doc__, "vgg5 and two cases", "counted calls of each kind")
    parser.add_argument("--cases", help="a list with commas between; default all but reliable, "
                        "quick the first two")  # fmt: skip
    parser.add_argument("--batch", type=int, help="images per call; default 64, quick 8")
    parser.add_argument("--network", help="trained model of the case reliable: a run's folder")
    parser.add_argument("--data_dir", help="TFDS folder, for the case reliable")
    options = conventions.parsed(parser)
    options.cases = options.cases or ",".join(list(STEPS)[: 2 if options.quick else 4])
    conventions.listed(parser, options, "cases", CASES)
    if "reliable" in options.cases and not options.network:
        parser.error("the case reliable needs a trained --network.")
    options.batch = options.batch or (8 if options.quick else 64)
    options.model = "vgg5" if options.quick else "vgg11"
    return options


def _problem(options):
    import keras
    import numpy as np

    import keras_dep
    from keras_dep import inference

    keras.utils.set_random_seed(0)
    model = keras_dep.models.build(options.model, input_shape=(32, 32, 3), num_classes=10)
    draw = np.random.default_rng(0)
    images = draw.uniform(0, 1, (options.batch, 32, 32, 3)).astype("float32")
    # Some attack only what is classified right.
    return model, images, inference.logits(model, images).argmax(axis=1).astype("int32")


def _trained(options):
    import keras

    from keras_dep import datasets

    model = keras.saving.load_model(os.path.join(options.network, "model.keras"), compile=False)
    data = datasets.load("cifar10", data_dir=options.data_dir, test_examples=options.batch)
    return model, data.x_test.astype("float32") / 255, data.y_test


def _ours(case, model, images, labels):
    from keras_dep import attacks

    kind = {"fgsm": lambda steps: attacks.FGSM(), "apgd-100": lambda s: attacks.APGD(steps=s)}
    build = kind.get(case, lambda steps: attacks.PGD(steps=steps))
    # Arrays in and out, so that nothing is left to be computed later.
    return lambda steps: build(steps)(model, images, labels)


def _peers(case, model, images, labels):
    import torch

    from keras_dep.attacks import channels_first

    adapted = channels_first(model).eval()
    device = next(adapted.parameters()).device
    images = torch.tensor(images.transpose(0, 3, 1, 2), device=device)
    labels = torch.tensor(labels, device=device).long()
    found = {"torchattacks": _torchattacks(case, adapted, images, labels)}
    with contextlib.suppress(ImportError):
        found["foolbox"] = _foolbox(case, adapted, images, labels)
    return {name: run for name, run in found.items() if run}


def _torchattacks(case, adapted, images, labels):
    import torchattacks

    build = {
        "fgsm": lambda steps: torchattacks.FGSM(adapted, eps=EPSILON),
        "apgd-100": lambda steps: torchattacks.APGD(adapted, eps=EPSILON, steps=steps),
    }.get(case, lambda steps: torchattacks.PGD(adapted, eps=EPSILON, alpha=0.01, steps=steps))
    return lambda steps: build(steps)(images, labels).cpu()


def _foolbox(case, adapted, images, labels):
    import foolbox

    if case == "apgd-100":
        return None
    network = foolbox.PyTorchModel(adapted, bounds=(0, 1))

    def run(steps):
        attack = foolbox.attacks.LinfPGD(abs_stepsize=0.01, steps=steps)
        if case == "fgsm":
            attack = foolbox.attacks.LinfFastGradientAttack()
        return attack.run(network, images, labels, epsilon=EPSILON).cpu()

    return run


if __name__ == "__main__":
    main()
