"""What a finished run leaves in its folder: its result, and the trained network it speaks of."""

import dataclasses
import os

from keras_dep._internal import model_files
from keras_dep._internal import records
from keras_dep.experiments.settings import Settings

RESULT, NETWORK = "result.json", "model.keras"
_MEND = (
    "the folder must hold the result.json and model.keras of a finished run; train one with "
    "apps/hetero_train.py"
)
# What whoever measures a trained network relies on.
TRAINED = {"optimizer": str, "settings": {}}
_SPECTRUM = {
    "spectral_radius": float,
    "leading_share": float,
    "alignment": {
        "gradient_energy_in_top": float,
        "curvature_along_gradient": float,
        "curvature_along_step": float,
        "cosine": float,
    },
}
# What the table of runs shows.
SHOWN = {
    **TRAINED,
    "backend": str,
    "settings": {"surrogate": str},
    "accuracy": {"clean": float, "fgsm": float, "pgd": float},
    "attacked_examples": int,
    "collapse": [{"collapsed": bool, "recovered_epoch": int | None}],
    "worst_after_poison": float | None,
    "hessian": (type(None), _SPECTRUM),
    "seconds_per_step": float | None,
}


def finished(folder, schema=TRAINED, mend=_MEND):
    """The settings and the result of a finished run.

    Args:
        folder: the run's.
        schema: what the result must hold, see `keras_dep._internal.records.read`.
        mend: what to do where it does not, in words.

    Returns:
        `(settings, result)`: a `keras_dep.experiments.settings.Settings` and the dictionary of
        `result.json`.

    Raises:
        ValueError: there is none, or it is damaged; one line with the file and the mend.
    """
    path = os.path.join(folder, RESULT)
    result = records.read(path, schema, mend)
    found = result["settings"]
    known = {field.name for field in dataclasses.fields(Settings)} & set(found)
    try:
        return Settings(**{name: found[name] for name in known}), result
    except ValueError as error:
        raise ValueError(f"{path} holds no valid settings ({error}); {mend}.") from error


def save(folder, network, result):
    """Leaves the network and the result, which names the network's file by its checksum."""
    path = os.path.join(folder, NETWORK)
    model_files.save_network(network, path)
    result = {**result, "model_sha256": model_files.sha256(path)}
    records.write(os.path.join(folder, RESULT), result)
    return result


def trained_network(folder, result):
    """The network that a result speaks of; raises `ValueError` for another or a damaged one."""
    path = os.path.join(folder, NETWORK)
    network = model_files.load_network(path)
    # Earlier revisions recorded no checksum.
    if result.get("model_sha256") not in (None, model_files.sha256(path)):
        raise ValueError(
            f"{path} is not the network that {RESULT} beside it was written with; bring back the "
            "former file, or train again."
        )
    return network
