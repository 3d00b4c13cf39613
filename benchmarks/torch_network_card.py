"""A spiking VGG-5 of SpikingJelly on CIFAR-10: its users' figures beside the reliable worst case.

Trains the network with SpikingJelly and torch alone on part of the training images, or reads its
weights if they are there. Then it measures what users of the library report, the accuracy under
FGSM and PGD-7 of torchattacks, and what this package finds on the same network: the reliable suite,
a sweep over radii, and the checklist. Writes weights.pth, evaluation.json, card.md and card.png.

  python benchmarks/torch_network_card.py --data_dir=~/tensorflow_datasets --out_dir=runs/card
  python benchmarks/torch_network_card.py --out_dir=runs/robust-card --adversarial --checks=32
"""

import argparse
import os
import pathlib
import time

os.environ["KERAS_BACKEND"] = "torch"

import torch
from spikingjelly.activation_based import functional
from spikingjelly.activation_based import layer
from spikingjelly.activation_based import neuron
from spikingjelly.activation_based import surrogate

EPSILON, STEP, STEPS = 8 / 255, 0.01, 7
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
CLASSES, BATCH, TIMESTEPS = 10, 64, 4


def vgg5(channels: int) -> torch.nn.Module:
    """Returns a VGG-5 of LIF neurons that takes all steps at once, `(T, batch, 3, 32, 32)`."""

    def fires():
        return neuron.LIFNode(tau=2.0, surrogate_function=surrogate.ATan(), detach_reset=True)

    blocks, before = [], 3
    for width in (channels, 2 * channels, 4 * channels):
        convolution = layer.Conv2d(before, width, 3, padding=1, bias=False)
        blocks += [convolution, layer.BatchNorm2d(width), fires(), layer.AvgPool2d(2)]
        before = width
    head = [layer.Flatten(), layer.Linear(16 * before, 8 * channels), fires()]
    network = torch.nn.Sequential(*blocks, *head, layer.Linear(8 * channels, CLASSES))
    functional.set_step_mode(network, "m")
    return network


class OnImages(torch.nn.Module):
    """The network as its users call it: reset, pixels normalised and repeated, logits averaged."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits `(batch, classes)` of images `(batch, 3, 32, 32)` in [0, 1]."""
        functional.reset_net(self.network)
        mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (MEAN, STD))
        steps = ((images - mean) / std).unsqueeze(0).repeat(TIMESTEPS, 1, 1, 1, 1)
        return self.network(steps).mean(0)


def main() -> None:
    """Trains and measures."""
    options = _options()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    folder = pathlib.Path(options.out_dir).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    network, weights = vgg5(options.channels), folder / "weights.pth"
    train, test = images(options)
    if not weights.exists():
        _train(OnImages(network), *train, options)
        torch.save(network.state_dict(), weights)
    network.load_state_dict(torch.load(weights, weights_only=True))
    network.eval()
    if options.only != "train":
        _measure(network, *test, options, folder)


def images(options: argparse.Namespace) -> list:
    """Returns training and test images `(n, 3, 32, 32)` in [0, 1], and their labels."""
    import numpy as np

    from keras_dep import data

    folder = os.path.expanduser(options.data_dir) if options.data_dir else None
    sizes = {"train_examples": options.train_examples, "test_examples": options.examples}
    found = data.load("cifar10", folder, **sizes)
    pairs = (found.x_train, found.y_train), (found.x_test, found.y_test)
    return [(np.ascontiguousarray(x.transpose(0, 3, 1, 2) / np.float32(255)), y) for x, y in pairs]


def _train(network, images, labels, options):
    images, labels = torch.tensor(images), torch.tensor(labels).long()
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    total = options.epochs * (len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total)
    started = time.perf_counter()
    for epoch in range(options.epochs):
        network.train()
        right = 0
        order = torch.randperm(len(images))
        for chosen in order[: len(order) // BATCH * BATCH].view(-1, BATCH):
            x, y = images[chosen], labels[chosen]
            flipped = torch.rand(BATCH) < 0.5
            x = torch.where(flipped.view(-1, 1, 1, 1), x.flip(-1), x)
            x = _adversarial(network, x, y) if options.adversarial else x
            logits = network(x)
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(logits, y).backward()
            optimizer.step()
            schedule.step()
            right += int((logits.argmax(1) == y).sum())
        seconds = time.perf_counter() - started
        share = right / (len(images) // BATCH * BATCH)
        print(f"epoch {epoch + 1}: accuracy {share:.4f} in training, {seconds:.0f} s", flush=True)


def _adversarial(network, images, labels):
    """Returns images one step away from a random start, as in Wong et al. 2020."""
    start = (torch.rand_like(images) * 2 - 1) * EPSILON
    moved = (images + start).clamp(0, 1).requires_grad_()
    loss = torch.nn.functional.cross_entropy(network(moved), labels)
    (slope,) = torch.autograd.grad(loss, moved)
    change = (start + 1.25 * EPSILON * slope.sign()).clamp(-EPSILON, EPSILON)
    return (images + change).clamp(0, 1).detach()


def _measure(network, images, labels, options, folder):
    from keras_dep import evaluation
    from keras_dep.interop import from_torch

    # torchattacks puts a network back into the mode that its outermost module is in.
    reported = _reported(OnImages(network).eval(), images, labels)
    for name, result in reported.items():
        print(f"{name}: {result['accuracy']:.4f}", flush=True)
    model = from_torch(network, (3, 32, 32), TIMESTEPS, mean=MEAN, std=STD, images=images[:16])
    record = evaluation.evaluate(
        model,
        images,
        labels,
        "reliable",
        epsilon=EPSILON,
        batch_size=BATCH,
        file=folder / "evaluation.json",
        facts={"dataset": "cifar10", "model_file": "weights.pth"},
        verbose=2,
    )
    radii = [level / 255 for level in (0, 2, 4, 8, 16)]
    points = evaluation.epsilon_sweep(model, images, labels, epsilons=radii, batch_size=BATCH)
    checks = []
    if options.checks:
        checks = evaluation.checklist(
            model,
            images[: options.checks],
            labels[: options.checks],
            epsilon=EPSILON,
            batch_size=BATCH,
            file=folder / "checklist.json",
            verbose=1,
        )
    title = "a spiking VGG-5 of SpikingJelly"
    title += ", adversarially trained" if options.adversarial else ""
    shown = {"title": title, "reported": reported, "chance": 1 / CLASSES, "folder": folder}
    print(evaluation.card(record, points, checks, **shown))


def _reported(network, images, labels):
    """Returns the accuracies on adversarial images of torchattacks, as its users measure them."""
    import torchattacks

    from keras_dep.evaluation import accuracy

    attacks = {
        "FGSM, torchattacks": torchattacks.FGSM(network, eps=EPSILON),
        "PGD-7, torchattacks": torchattacks.PGD(network, eps=EPSILON, alpha=STEP, steps=STEPS),
    }
    found = {}
    for name, attack in attacks.items():
        right = 0
        for start in range(0, len(images), BATCH):
            x = torch.tensor(images[start : start + BATCH])
            y = torch.tensor(labels[start : start + BATCH]).long()
            crafted = attack(x, y)
            with torch.no_grad():
                right += int((network(crafted).argmax(1) == y).sum())
        found[name] = accuracy.proportion(right, len(images))
    return found


def _options():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--out_dir", default="runs/torch-network-card")
    options.add_argument("--data_dir", help="folder of prepared sets; default: the user's")
    options.add_argument("--channels", type=int, default=16, help="of the first convolution")
    options.add_argument("--train_examples", type=int, default=10000)
    options.add_argument("--epochs", type=int, default=6)
    options.add_argument("--examples", type=int, default=128, help="test images")
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--adversarial", action="store_true", help="train on adversarial images")
    options.add_argument("--checks", type=int, default=0, help="test images for the checklist")
    options.add_argument("--only", choices=("train", "all"), default="all")
    return options.parse_args()


if __name__ == "__main__":
    main()
