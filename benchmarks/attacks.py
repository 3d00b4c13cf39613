"""Images per second of our attacks beside torchattacks' on the same spiking network.

Both attack the same weights on the same images, in turn, at 8/255; the peer needs the torch
backend, elsewhere ours is measured alone. Medians.

  python benchmarks/attacks.py --backend=torch --json=attacks.json
  python benchmarks/attacks.py --backend=jax --quick
"""

import statistics
import time

import conventions

CASES = ("fgsm", "pgd-7", "pgd-50", "apgd-100")


def main():
    options = _options()
    model, images, labels = _problem(options)
    rows = []
    print(f"{'case':<12}{'ours, images/s':>16}{'least to most':>20}{'peer':>10}{'ratio':>8}")
    for case in options.cases:
        runs = {"ours": _ours(case, model, images, labels)}
        if options.backend == "torch":
            runs["peer"] = _peer(case, model, images, labels)
        speeds = {name: [] for name in runs}
        for number in range(options.rounds + 1):
            for name, run in runs.items():
                started = time.perf_counter()
                run()
                if number:
                    speeds[name].append(len(images) / (time.perf_counter() - started))
        ours, peer = (
            statistics.median(speeds[name]) if name in speeds else None for name in ("ours", "peer")
        )
        ratio = None
        if peer:
            ratio = statistics.median(a / b for a, b in zip(speeds["ours"], speeds["peer"]))
        spread = f"{min(speeds['ours']):.4g} to {max(speeds['ours']):.4g}"
        shown = [f"{value:.4g}" if value else "-" for value in (peer, ratio)]
        print(f"{case:<12}{ours:>16.4g}{spread:>20}{shown[0]:>10}{shown[1]:>8}", flush=True)
        name = "torchattacks 3.5.1" if peer else None
        case = f"{options.model}, {case}"
        rows.append(conventions.row(options, case, "images per second", ours, peer, name, ratio))
    conventions.save(rows, options)


def _options():
    parser = conventions.parser(__doc__, "vgg5 and two cases", "counted calls of each kind")
    parser.add_argument("--cases", help="a list with commas between; default all, quick the first")
    parser.add_argument("--batch", type=int, help="images per call; default 64, quick 8")
    options = conventions.parsed(parser)
    options.cases = options.cases or ",".join(CASES[: 2 if options.quick else 4])
    conventions.listed(parser, options, "cases", CASES)
    options.batch = options.batch or (8 if options.quick else 64)
    options.model = "vgg5" if options.quick else "vgg11"
    return options


def _problem(options):
    import keras
    import numpy as np

    import keras_dep

    keras.utils.set_random_seed(0)
    model = keras_dep.models.build(options.model, input_shape=(32, 32, 3), num_classes=10)
    draw = np.random.default_rng(0)
    images = draw.uniform(0, 1, (options.batch, 32, 32, 3)).astype("float32")
    return model, images, draw.integers(0, 10, options.batch).astype("int32")


def _ours(case, model, images, labels):
    from keras_dep import attacks

    attack = {
        "fgsm": lambda: attacks.FGSM(),
        "pgd-7": lambda: attacks.PGD(steps=7),
        "pgd-50": lambda: attacks.PGD(steps=50),
        "apgd-100": lambda: attacks.APGD(steps=100),
    }[case]()
    # Arrays in and out, so that nothing is left to be computed later.
    return lambda: attack(model, images, labels)


def _peer(case, model, images, labels):
    import torch
    import torchattacks

    from keras_dep.attacks import channels_first

    adapted = channels_first(model).eval()
    attack = {
        "fgsm": lambda: torchattacks.FGSM(adapted, eps=8 / 255),
        "pgd-7": lambda: torchattacks.PGD(adapted, eps=8 / 255, alpha=0.01, steps=7),
        "pgd-50": lambda: torchattacks.PGD(adapted, eps=8 / 255, alpha=0.01, steps=50),
        "apgd-100": lambda: torchattacks.APGD(adapted, eps=8 / 255, steps=100),
    }[case]()
    device = next(adapted.parameters()).device
    images = torch.tensor(images.transpose(0, 3, 1, 2), device=device)
    labels = torch.tensor(labels, device=device).long()
    return lambda: attack(images, labels).cpu()


if __name__ == "__main__":
    main()
