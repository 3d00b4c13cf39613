"""Models for the apps: loaded from files, and checked against the images of a data set."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

# An app loads this module before it has chosen a backend.
if TYPE_CHECKING:
    import keras

    from keras_dep._internal.types import Array
    from keras_dep._internal.types import Record
    from keras_dep.data import Dataset
    from keras_dep.data.events import Framing

# Images that tell probabilities from logits.
PROBES = 16
RUN = {"method": str, "settings": {"dataset": str, "seed": int, "loss": str}}


def load(path: str) -> tuple[keras.Model, Record]:
    """Loads a model.

    Args:
        path: a .keras file, or the folder of a run with `model.keras` and, optionally,
            `result.json`.

    Returns:
        The model, and how it was trained, for the report.

    Raises:
        ValueError: a file is missing, damaged, or has other content.
    """
    # Registers the layers that the file names.
    import keras_dep  # noqa: F401
    from keras_dep import distribution
    from keras_dep._internal import model_files
    from keras_dep.experiments import results

    path = os.path.expanduser(path)
    facts = {"model_file": os.path.basename(os.path.normpath(path))}
    network = os.path.join(path, results.NETWORK) if os.path.isdir(path) else path
    if not os.path.isfile(network):
        raise ValueError(
            f"model {network!r} is not there; name a .keras file or the folder of a run."
        )
    result = os.path.join(path, results.RESULT)
    if not os.path.exists(result):
        with distribution.workers().scope():
            return model_files.load_network(network), facts
    run = results.read(result, RUN, "train again with apps/hetero_train.py")
    settings = run["settings"]
    facts |= {
        "checkpoint": "last epoch",
        "trained_with": run["method"],
        "dataset": settings["dataset"],
        "training_seed": settings["seed"],
        "training_loss": settings["loss"],
    }
    for name in ("frames_by", "frame_saturation"):
        if name in settings:
            facts[name] = settings[name]
    return results.trained_network(path, run), facts


def framing(
    model: keras.Model | None, dataset: str, facts: Record, given: Record
) -> Framing | None:
    """How the recordings of an event set become the frames that a model takes.

    Args:
        model: the model, whose input tells the number and the size of the frames; `None` for a
            torch module.
        dataset: name of the data set.
        facts: what `load` returned; the framing is added for an event set.
        given: `by` and `saturation` as asked for, `None` where the run decides.

    Returns:
        The `Framing`, or `None` for an image set.

    Raises:
        ValueError: a model that takes no frames, or a setting for an image set.
    """
    from keras_dep.data import tfds_files
    from keras_dep.data.events import Framing

    flags = {"by": "frames_by", "saturation": "frame_saturation"}
    if dataset not in tfds_files.EVENT_SETS:
        for name, value in given.items():
            if value is not None:
                raise ValueError(
                    f"{flags[name]} is for event sets; received dataset={dataset} too; leave one "
                    "of them out."
                )
        return None
    if model is None:
        raise ValueError(
            f"dataset must be a set of images for a torch module; received {dataset}, an event set."
        )
    inputs = getattr(model, "inputs", None) or ()
    shape = tuple(inputs[0].shape[1:]) if len(inputs) == 1 else ()
    if len(shape) != 4 or None in shape or shape[1] != shape[2]:
        raise ValueError(
            f"model must take frames (T, side, side, 2) for dataset={dataset}; received inputs "
            f"{[tuple(each.shape[1:]) for each in inputs]}; train one with encoder=events."
        )
    usual = Framing()
    chosen = {
        name: facts.get(flag, getattr(usual, name)) if given[name] is None else given[name]
        for name, flag in flags.items()
    }
    facts |= {flag: chosen[name] for name, flag in flags.items()}
    return Framing(timesteps=shape[0], side=shape[1], **chosen)


def check(model: keras.Model, path: str, data: Dataset, images: Array) -> None:
    """Checks that a model takes the images of a data set and answers with logits.

    Args:
        model: the model.
        path: its file, for the message.
        data: the data set.
        images: float32 images of it in [0, 1]; the model is called on the first ones.

    Raises:
        ValueError: it does not; one line with the reason and the mend.
    """
    fault = _fault_of_inputs(model, data) or _fault_of_outputs(model, data, images[:PROBES])
    if fault:
        raise ValueError(f"model {path!r} {fault}.")


def _fault_of_inputs(model: keras.Model, data: Dataset) -> str | None:
    import keras

    # A subclassed model does not have them.
    inputs = getattr(model, "inputs", None)
    if not inputs:
        return None
    if len(inputs) > 1:
        names = ", ".join(each.name for each in inputs)
        return f"must take images alone; it takes {len(inputs)} inputs: {names}"
    (given,) = inputs
    shape, wanted = tuple(given.shape[1:]), tuple(data.image_shape)
    if not keras.backend.is_float_dtype(given.dtype):
        return f"must take pixels in [0, 1]; it takes {given.dtype}; save it with a float input"
    if given.shape[0] is not None:
        return f"takes batches of {given.shape[0]} images alone; save it with a free batch size"
    if _fits(shape, wanted):
        return None
    if _fits(shape, (wanted[-1], *wanted[:-1])):
        return (
            f"takes images {shape} with channels first; {data.name} has {wanted}; put "
            f"keras.layers.Permute({(len(shape), *range(1, len(shape)))}) in front of it"
        )
    return (
        f"takes images {shape}; {data.name} has {wanted}; set --dataset to the set it was "
        "trained on"
    )


def _fits(shape: tuple[int | None, ...], wanted: tuple[int, ...]) -> bool:
    """Whether each axis has the wanted size, or none."""
    return len(shape) == len(wanted) and all(a in (None, b) for a, b in zip(shape, wanted))


def _fault_of_outputs(model: keras.Model, data: Dataset, images: Array) -> str | None:
    import keras

    from keras_dep.attacks.randomness import random_states_kept
    from keras_dep.evaluation import accuracy

    with random_states_kept(model):
        try:
            outputs = model.predict_on_batch(images)
        # A layer may raise anything for a shape that it does not take.
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            return f"does not take images {images.shape[1:]} of {data.name} ({reason})"
    if isinstance(outputs, (dict, list, tuple)):
        names = ", ".join(outputs) if isinstance(outputs, dict) else len(outputs)
        return (
            f"must answer with one array of logits; it answers with a {type(outputs).__name__} "
            f"({names}); save keras.Model(model.input, model.output[...]) with the logits alone"
        )
    outputs = keras.ops.convert_to_numpy(outputs).astype("float32")
    if outputs.ndim not in (2, 3):
        return (
            "must answer with logits (batch, classes) or (batch, time, classes); it answers "
            f"{outputs.shape}"
        )
    if outputs.shape[-1] < data.num_classes:
        return (
            f"answers with {outputs.shape[-1]} logits; {data.name} has {data.num_classes} classes; "
            "set --dataset to the set it was trained on"
        )
    return accuracy.PROBABILITIES if accuracy.are_probabilities(outputs) else None
