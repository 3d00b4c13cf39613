"""The files of a finished run: its result and its trained network."""

import dataclasses
import os

import keras

from keras_dep import distribution
from keras_dep._internal import model_files
from keras_dep._internal import records
from keras_dep._internal.types import Record
from keras_dep.experiments.settings import Settings

# Names in the folder of a run; the last is the folder with the weights of each epoch.
RESULT, NETWORK, EPOCHS = "result.json", "model.keras", "epochs"
# Version 1 named the method "optimizer", and held no version.
SCHEMA = 2
_MEND = (
    "the folder must hold the result.json and model.keras of a finished run; train one with "
    "apps/hetero_train.py"
)
# Settings that do not change the result.
_ASIDE = ("data_dir", "download", "keep_epochs", "workers", "worker_processes")
# Settings added later, which a description names only where they are not the default, so that runs
# and states of earlier revisions go on.
_ADDED = {
    "poison_protocol": "pixel",
    "normalization_control": "none",
    "frames_by": "count",
    "frame_side": 128,
    "frame_saturation": 8,
}
# Needed to measure a trained network.
TRAINED = {"method": str, "settings": {}}
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
# Keys that the table of runs shows.
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


def description(settings: Settings, method: str) -> Record:
    """The method, backend and settings of a run, which decide its result."""
    values = dataclasses.asdict(settings)
    return {
        "schema": SCHEMA,
        "method": method,
        "backend": keras.backend.backend(),
        "settings": {
            name: value
            for name, value in values.items()
            if name not in _ASIDE and _ADDED.get(name) != value
        },
    }


def finished(
    folder: str | os.PathLike, schema: Record = TRAINED, mend: str = _MEND
) -> tuple[Settings, Record]:
    """The settings and the result of a finished run.

    Args:
        folder: the run's folder.
        schema: required keys and types, see `keras_dep._internal.records.read`.
        mend: advice at the end of the error message.

    Returns:
        `(settings, result)`: a `keras_dep.experiments.Settings` and the dictionary of
        `result.json`, in the present schema.

    Raises:
        ValueError: the result is missing, damaged, or of a later version of the package; one line
            with the file and the mend.
    """
    path = os.path.join(folder, RESULT)
    result = read(path, schema, mend)
    found = result["settings"]
    known = {field.name for field in dataclasses.fields(Settings)}
    if unknown := sorted(set(found) - known):
        raise ValueError(
            f"{path} holds the setting {unknown[0]}={found[unknown[0]]!r}, which this version of "
            "keras_dep does not know; read it with the version that wrote it."
        )
    try:
        return Settings(**found), result
    except ValueError as error:
        raise ValueError(f"{path} holds no valid settings ({error}); {mend}.") from error


def read(path: str | os.PathLike, schema: Record, mend: str = _MEND) -> Record:
    """Reads a `result.json`, and brings it to the present schema; see `finished`."""
    result = records.read(path, {}, mend)
    version = result.get("schema", 1)
    if version not in (1, SCHEMA):
        raise ValueError(
            f"{path} must have a schema up to {SCHEMA}; received {version!r}; read it with the "
            "version of keras_dep that wrote it."
        )
    if version == 1 and "optimizer" in result:
        result = {"schema": SCHEMA, "method": result.pop("optimizer"), **result}
    records.check(path, result, schema, mend)
    return result


def save(folder: str | os.PathLike, network: keras.Model, result: Record) -> Record:
    """Saves the network, and the result with the checksum of the network's file."""
    path = os.path.join(folder, NETWORK)
    model_files.save_network(network, path)
    result = {**result, "model_sha256": model_files.sha256(path)}
    records.write(os.path.join(folder, RESULT), result)
    return result


def trained_network(folder: str | os.PathLike, result: Record) -> keras.Model:
    """Loads the network of a result, onto all devices of the workers that were started.

    Raises:
        ValueError: the file is missing, damaged, or not the one that the result was written with.
    """
    path = os.path.join(folder, NETWORK)
    with distribution.workers().scope():
        network = model_files.load_network(path)
    # Earlier revisions recorded no checksum.
    if result.get("model_sha256") not in (None, model_files.sha256(path)):
        raise ValueError(
            f"{path} is not the network that {RESULT} beside it was written with; restore the "
            "former file, or train again."
        )
    return network


def hparams(values: Record) -> Record:
    """Method and settings as one flat dictionary for TensorBoard."""
    return {"method": values["method"], **values["settings"]}
