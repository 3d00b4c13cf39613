"""Models to transfer adversarial images from, trained with the settings of a finished run."""

import dataclasses
import os
from collections.abc import Iterable

import keras

from keras_dep._internal import validation
from keras_dep._internal.types import Record
from keras_dep.experiments import results
from keras_dep.experiments.run import run as train_run
from keras_dep.experiments.settings import Settings
from keras_dep.models import registry

KINDS = ("seed", "architecture", "ann_counterpart")
# Names of earlier revisions, in flags and as folders.
FORMER = {"twin": "ann_counterpart"}


def train(
    run: str | os.PathLike,
    kinds: Iterable[str],
    folder: str | os.PathLike,
    data_dir: str | None = None,
    verbose: str | int = "auto",
) -> list[keras.Model]:
    """Trains substitutes for a run's network with the settings of that run.

    `"seed"` differs from the network in the seed of its training, `"architecture"` in its layers
    too (see `other_architecture`), and `"ann_counterpart"` has ReLUs in place of spiking neurons.

    Args:
        run: folder of a finished run.
        kinds: some of `KINDS`; `"twin"` is the former name of `"ann_counterpart"`.
        folder: where each substitute has a folder of its kind. Finished ones are loaded, and
            stopped ones resume.
        data_dir: TFDS folder; default: the user's.
        verbose: as in `keras.Model.fit`.

    Returns:
        List of the trained `keras.Model`s, in the order of `kinds`.

    Raises:
        ValueError: an unknown kind, a run without its settings, or a folder that holds substitutes
            of another run.
    """
    kinds = check(kinds)
    settings, result = results.finished(run)
    settings = dataclasses.replace(settings, data_dir=data_dir)
    models = []
    for kind in kinds:
        path = _folder(folder, kind)
        chosen = settings_of(settings, kind)
        trained = train_run(chosen, result["method"], path, resume=True, verbose=verbose)
        models.append(results.trained_network(path, trained))
    return models


def settings_of(settings: Settings, kind: str) -> Settings:
    """Returns the settings of a substitute of a kind in `KINDS` for a network with `settings`."""
    # Measurements during training do not change the weights.
    changed: Record = {
        "seed": (settings.seed + 1) % 2**31,
        "hessian_examples": 0,
        "keep_epochs": False,
    }
    if kind == "architecture":
        changed["model"] = other_architecture(settings.model)
    if kind == "ann_counterpart":
        changed["spiking"] = False
    return dataclasses.replace(settings, **changed)


def other_architecture(name: str) -> str:
    """Chooses a network of another depth or family than the one of that name.

    Raises:
        ValueError: an unknown name.

    Example:

    >>> other_architecture("vgg11"), other_architecture("wrn16_4")
    ('resnet18', 'vgg11')
    """
    validation.one_of("model", name, registry.names())
    if name == "vgg5":
        return "vgg11"
    return "resnet18" if name.startswith("vgg") else "vgg11"


def check(kinds: Iterable[str]) -> list[str]:
    """Checks kinds of substitutes, and returns them by their present names, each once.

    Raises:
        ValueError: a name that is not in `KINDS`.

    Example:

    >>> check(["seed", "twin"])
    ['seed', 'ann_counterpart']
    """
    named = [FORMER.get(kind, kind) for kind in kinds]
    if unknown := [kind for kind in named if kind not in KINDS]:
        raise ValueError(
            f"train_substitutes must be among {', '.join(KINDS)}; received {', '.join(unknown)}."
        )
    return list(dict.fromkeys(named))


def _folder(folder: str | os.PathLike, kind: str) -> str:
    """The folder of a substitute: one of its former name is used where it exists."""
    former = [os.path.join(folder, old) for old, new in FORMER.items() if new == kind]
    return next(filter(os.path.isdir, former), os.path.join(folder, kind))
