"""Attack success of ASSG with SA-PGD, beside that of the authors' released code.

Takes a folder of `torch_network_card.py`. Images that are wrong without an attack count, as in the
paper. The released code is no part of this project: `RELEASED` keeps what it found, once, on the
weights named there. `tests/peers/test_released_assg.py` compares images on a small network.

  python benchmarks/released_assg.py --run=runs/card
  python benchmarks/released_assg.py --run=runs/robust-card --channels=8
"""

import argparse
import pathlib

import torch_network_card as network

# By the fingerprint of the weights, on the 256 test images of CIFAR-10 that `data.load` takes:
# `ASSG_SAPGD(eps=8/255, steps=100, a=0.425, relax=1.5, beta_1=0.9, beta_2=0.9)` of the code of
# arXiv 2512.22522 at commit deee10c (address in `tests/peers/released_assg.json`), unchanged, on a
# VGG-5 rebuilt with its `MyLIFNode(threshold=1, tau=0.5)`.
RELEASED = {"6435e503e7faaaa7": 240 / 256, "7ea663a1c4069e09": 256 / 256}
IMAGES, STEPS, VANISHING = 256, 100, 0.85


def main() -> None:
    """Measures ours and prints both."""
    import torch

    from keras_dep import attacks
    from keras_dep import evaluation
    from keras_dep.evaluation import metadata
    from keras_dep.interop import from_torch

    options = _options()
    torch.set_num_threads(options.threads)
    module = network.vgg5(options.channels)
    weights = pathlib.Path(options.run).expanduser() / "weights.pth"
    module.load_state_dict(torch.load(weights, weights_only=True))
    _, (images, labels) = network.images(options)
    given = {"mean": network.MEAN, "std": network.STD, "images": images[:16]}
    model = from_torch(module.eval(), (3, 32, 32), network.TIMESTEPS, **given)
    rule = attacks.gradient_estimators.ASSG(vanishing=VANISHING)
    attack = attacks.SAPGD(epsilon=network.EPSILON, steps=STEPS, estimator=rule)
    found = evaluation.robust_accuracy(model, attack, images, labels, batch_size=network.BATCH)
    weights = metadata.of_weights(model)
    released = RELEASED.get(weights) if len(images) == IMAGES else None
    print(f"weights {weights}, {len(images)} images, SA-PGD of {STEPS} steps with ASSG")
    print(f"ours     {1 - found['accuracy']:.4f}")
    print(f"released {'not measured on these' if released is None else f'{released:.4f}'}")


def _options():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--run", required=True, help="folder with weights.pth")
    options.add_argument("--data_dir", help="folder of prepared sets; default: the user's")
    options.add_argument("--channels", type=int, default=16, help="of the first convolution")
    options.add_argument("--examples", type=int, default=IMAGES, help="test images")
    options.add_argument("--train_examples", type=int, default=1, help=argparse.SUPPRESS)
    options.add_argument("--threads", type=int, default=1)
    return options.parse_args()


if __name__ == "__main__":
    main()
