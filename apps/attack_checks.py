"""Whether the flags of the attack app suit one another and the model, before hours of work."""

import os
import sys


def check(flags):
    """Raises `ValueError` for wrong flags; returns those with commas as lists."""
    from apps import command
    from apps import data_files
    from keras_dep.evaluation import suites
    from keras_dep.evaluation.obfuscation.checklist import known_checks

    if flags.torch is not None:
        _check_torch(flags)
    elif not (flags.model or "").strip():
        received = "none" if flags.model is None else repr(flags.model)
        raise ValueError(
            f"model must be a .keras file or the folder of a run; received {received}."
        )
    for name in ("out_dir", "data_dir"):
        command.folder(name, flags[name].value)
    if flags.dataset is not None:
        data_files.check(flags.dataset)
    kinds = {"epsilons": float, "steps": int, "checks": int, "severities": int, "corruptions": str}
    lists = {name: command.entries(flags, name, kind) for name, kind in kinds.items()}
    lists["substitutes"] = command.entries(flags, "substitutes")
    for name, kind in {"input_shape": int, "mean": float, "std": float}.items():
        lists[name] = command.entries(flags, name, kind, distinct=False)
    lists["epsilons"] = _radii(flags, lists["epsilons"])
    if wrong := [number for number in lists["steps"] if number < 1]:
        raise ValueError(f"steps must be whole numbers from 1 on; received {wrong[0]}.")
    known_checks(lists["checks"])
    epsilon = suites.radius(flags.norm, flags.epsilon)
    if flags.suite == "corruptions":
        _check_corruptions(flags, lists)
    else:
        if flags.suite == "timing":
            _refuse(
                flags, "suites with a ball", ("norm", "epsilon", "checklist", "sweep", "protocol")
            )
        _refuse(flags, "suite=corruptions alone", ("corruptions", "severities", "baseline"))
        suites.build(flags.suite, norm=flags.norm, epsilon=epsilon, **derivative(flags))
    if flags.norm != "Linf" and (flags.checklist or flags.protocol == "released"):
        what = "checklist" if flags.checklist else "protocol=released"
        raise ValueError(f"{what} knows the L-infinity ball only; received norm={flags.norm}.")
    _check_substitutes(flags)
    return lists


def check_model(flags, model):
    """Raises `ValueError` for flags that do not suit the model, before hours of work."""
    from keras_dep.attacks.reference_code_attack import pixel_statistics
    from keras_dep.evaluation import suites
    from keras_dep.layers.overrides import spiking_layers

    if flags.suite == "corruptions":
        return
    epsilon = suites.radius(flags.norm, flags.epsilon)
    spiking = bool(spiking_layers(model))
    suites.build(
        flags.suite, norm=flags.norm, epsilon=epsilon, spiking=spiking, **derivative(flags)
    )
    if flags.protocol == "released":
        pixel_statistics(model)


def derivative(flags):
    """Returns the derivative of spikes for the white-box attacks of the small suites."""
    estimator = None if flags.estimator == "training" else flags.estimator
    return {"estimator": estimator, "surrogate": flags.surrogate, "width": flags.width}


def _check_torch(flags):
    """Raises `ValueError` for flags that do not suit a torch module."""
    from apps import torch_models

    if flags.model is not None:
        raise ValueError(f"model or torch must be given, not both; received {flags.model!r}.")
    torch_models.check(flags.torch)
    if not flags.input_shape:
        raise ValueError("input_shape must be that of an image, as 3,32,32; received none.")
    if flags.dataset is None:
        raise ValueError("dataset must be named for a torch module; received none.")


def _check_corruptions(flags, lists):
    from apps import command
    from apps import corruptions

    if flags.distribute:
        raise ValueError(
            "suite=corruptions is not spread over processes; received distribute="
            f"{flags.distribute}; leave it out."
        )
    others = ("checklist", "sweep", "protocol", "substitutes", "train_substitutes", "surrogate")
    _refuse(flags, "suites of attacks", (*others, "estimator", "epsilon"))
    folder = command.folder("data_dir", flags.data_dir)
    corruptions.check(flags.dataset, lists["corruptions"], lists["severities"], folder)


def _refuse(flags, where, names):
    for name in names:
        if flags[name].present:
            raise ValueError(
                f"{name} is for {where}; received suite={flags.suite} too; leave one of them out."
            )


def _radii(flags, given):
    """Returns radii in pixel units."""
    scale, most, unit = 255, 255, "grey levels from 0 to 255"
    if flags.norm != "Linf":
        scale, most, unit = 1, sys.float_info.max, "finite lengths of at least 0"
    if wrong := [number for number in given if not 0 <= number <= most]:
        raise ValueError(f"epsilons must be {unit}; received {wrong[0]:g}.")
    return [number / scale for number in given]


def _check_substitutes(flags):
    from apps import command
    from keras_dep.experiments import results
    from keras_dep.experiments import substitute_models

    kinds = command.entries(flags, "train_substitutes")
    run = os.path.expanduser(flags.model or flags.torch)
    substitute_models.check(kinds)
    if kinds and not os.path.isdir(run):
        raise ValueError(
            f"train_substitutes needs the settings of a run, and {run!r} is a file; name "
            "the run's folder in --model, or trained models in --substitutes."
        )
    if kinds:
        results.finished(run)
