"""Models to transfer images from, trained as a finished run was."""

import dataclasses
import os

from keras_dep.experiments import results
from keras_dep.experiments.run import run as train_run
from keras_dep.models import registry

KINDS = ("seed", "architecture", "twin")


def train(run, kinds, folder, data_dir=None, verbose="auto"):
    """Trains substitutes of a run's network by the run's own settings, or takes those of before.

    `"seed"` differs from the network in the seed of its training, `"architecture"` in its layers
    too (see `other_architecture`), and `"twin"` has ReLUs in the place of spikes.

    Args:
        run: folder of a finished run.
        kinds: some of `KINDS`.
        folder: where each leaves a run of its name; finished ones are read, stopped ones go on.
        data_dir: TFDS folder; default: the user's.
        verbose: as in `keras.Model.fit`.

    Returns:
        List of the trained `keras.Model`s, in the order of `kinds`.

    Raises:
        ValueError: an unknown kind, a run without its settings, or a folder that holds substitutes
            of another run.
    """
    check(kinds)
    settings, result = results.finished(run)
    settings = dataclasses.replace(settings, data_dir=data_dir)
    models = []
    for kind in kinds:
        path = os.path.join(folder, kind)
        chosen = settings_of(settings, kind)
        trained = train_run(chosen, result["method"], path, resume=True, verbose=verbose)
        models.append(results.trained_network(path, trained))
    return models


def settings_of(settings, kind):
    """The settings of a substitute for the network of others."""
    # What is measured on the way has no part in the weights.
    aside = {"seed": (settings.seed + 1) % 2**31, "hessian_examples": 0, "keep_epochs": False}
    if kind == "architecture":
        aside["model"] = other_architecture(settings.model)
    if kind == "twin":
        aside["spiking"] = False
    return dataclasses.replace(settings, **aside)


def other_architecture(name):
    """The network of another depth or family that stands in for one.

    Example:

    >>> other_architecture("vgg11"), other_architecture("wrn16_4")
    ('resnet18', 'vgg11')
    """
    if name not in registry.names():
        raise ValueError(f"model must be one of {', '.join(registry.names())}; received {name!r}.")
    if name == "vgg5":
        return "vgg11"
    return "resnet18" if name.startswith("vgg") else "vgg11"


def check(kinds):
    """Raises `ValueError` unless each of the kinds is one."""
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise ValueError(
            f"train_substitutes must be among {', '.join(KINDS)}; received {', '.join(unknown)}."
        )
